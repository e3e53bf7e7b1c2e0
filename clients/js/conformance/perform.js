/**
 * Carries out one call on a namespace: on workerd's own in workerd, on this package's in Node. In
 * both it is this code.
 *
 * A call is `{ object, method, path, headers?, body? }`, its object `{ binding, name }` or
 * `{ binding, id }`, and `by` how the object is reached: `name` (`idFromName`, then `get`), `getByName`,
 * `string` (`idFromString` of the id), `foreign` (`get` of an id of the other namespace).
 */

const OTHER = { RATE_LIMITER: "AUDIT_LOGGER", AUDIT_LOGGER: "RATE_LIMITER" };

export async function perform(env, { object, by = "name", method, path, headers, body }) {
  try {
    const stub = reach(env, object, by);
    const response = await stub.fetch(`https://conformance${path}`, { method, headers, body });
    return {
      id: stub.id.toString(),
      status: response.status,
      headers: Object.fromEntries(response.headers),
      body: await response.text(),
    };
  } catch (error) {
    return { threw: `${error.name}: ${error.message}` };
  }
}

function reach(env, { binding, name, id }, by) {
  const namespace = env[binding];
  if (id !== undefined) return namespace.get(namespace.idFromString(id));
  if (by === "getByName") return namespace.getByName(name);
  if (by === "foreign") return namespace.get(env[OTHER[binding]].idFromName(name));
  const made = namespace.idFromName(name);
  return namespace.get(by === "string" ? namespace.idFromString(made.toString()) : made);
}
