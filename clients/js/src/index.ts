/** tallykeep: Durable Objects bindings, rate limits and audit logging on a cluster of your own. */

export { durableObjects, type GuideBindings } from "./durable-objects.js";
export { TallykeepError } from "./error.js";
export type { DurableObjectId } from "./id.js";
export type {
  DurableObjectNamespace,
  GetDurableObjectOptions,
  NewUniqueIdOptions,
} from "./namespace.js";
export type {
  BindingOptions,
  BindingsOptions,
  ClassName,
  DurableObjectsOptions,
} from "./options.js";
export type { DurableObjectStub } from "./stub.js";
export {
  type AuditEntry,
  AuditLog,
  type AuditLogOptions,
  type AuditResult,
  flushAudit,
  logAudit,
} from "./audit.js";
export type { AuditLoggerEnv, FetchNamespace, RateLimiterEnv, WaitUntil } from "./env.js";
export {
  checkRateLimit,
  type RateLimitConfig,
  rateLimitHeaders,
  type RateLimitResult,
} from "./rate-limit.js";
export {
  type RateLimit,
  rateLimitBinding,
  type RateLimitBindingOptions,
  type RateLimitOptions,
} from "./rate-limit-binding.js";
