/** The bindings of a cluster, to be put into `env`. */

import { type DurableObjectNamespace, ObjectNamespace } from "./namespace.js";
import { type BindingsOptions, type DurableObjectsOptions, settings } from "./options.js";
import { Transport } from "./transport.js";

/** The guide's bindings. */
export interface GuideBindings {
  RATE_LIMITER: DurableObjectNamespace;
  AUDIT_LOGGER: DurableObjectNamespace;
}

/**
 * The guide's `env.RATE_LIMITER` and `env.AUDIT_LOGGER`, or those of `bindings`, kept by a tallykeep
 * cluster. It does no I/O. Make it once: what is known of the nodes, and their connections, are its.
 *
 * ```js
 * const env = { ...process.env, ...durableObjects({ endpoints: ["http://10.0.0.1:7001"] }) };
 * ```
 *
 * @throws {TypeError} that names the option that is wrong.
 */
export function durableObjects<Name extends string>(
  options: BindingsOptions<Name>,
): Record<Name, DurableObjectNamespace>;
export function durableObjects(options: DurableObjectsOptions): GuideBindings;
export function durableObjects(
  options: DurableObjectsOptions,
): GuideBindings | Record<string, DurableObjectNamespace> {
  const checked = settings(options);
  const transport = new Transport(checked);
  const namespaces = checked.bindings.map(({ name, uniqueKey }) => [
    name,
    new ObjectNamespace(name, uniqueKey, transport),
  ]);
  return Object.fromEntries(namespaces) as Record<string, DurableObjectNamespace>;
}
