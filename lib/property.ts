/**
 * Reads a property that an object has itself, or that its own class gives it (an accessor of an entity). What every object inherits does not count: whoever can write
 * to `Object.prototype`, through a careless merge somewhere, would give everybody that property.
 */
export function property (object: object, key: string): unknown {
  return hasProperty(object, key) ? (object as Readonly<Record<string, unknown>>)[key] : undefined
}

/** Returns whether an object has a property itself or by its class. */
function hasProperty (object: object, key: string): boolean {
  if (Object.hasOwn(object, key)) return true
  // A prototype without a prototype is the Object.prototype of some realm, or stands in its place.
  for (let from = prototypeOf(object); from !== null; from = prototypeOf(from)) {
    if (Object.hasOwn(from, key)) return prototypeOf(from) !== null
  }
  return false
}

function prototypeOf (object: object): object | null {
  return Object.getPrototypeOf(object) as object | null
}
