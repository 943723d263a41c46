/** An object whose own fields may be read by name. */
type Fields = Readonly<Record<string, unknown>>

/**
 * Reads a property that an object has itself, or that its own class gives it (an accessor of an entity). What every object inherits does not count: whoever can write
 * to `Object.prototype`, through a careless merge somewhere, would give everybody that property.
 */
export function property (object: object, key: string): unknown {
  return hasProperty(object, key) ? (object as Fields)[key] : undefined
}

/** Returns whether an object has a property itself or by its class. */
export function hasProperty (object: object, key: string): boolean {
  if (Object.hasOwn(object, key)) return true
  // A prototype without a prototype is the Object.prototype of some realm, or stands in its place.
  for (let from = prototypeOf(object); from !== null; from = prototypeOf(from)) {
    if (Object.hasOwn(from, key)) return prototypeOf(from) !== null
  }
  return false
}

/** Copies the own fields of an object to one without a prototype, where what is missing is missing. For objects that are plain: options, JSON. */
export function ownFields (object: object): Fields {
  return Object.assign(Object.create(null) as object, object) as Fields
}

/** Reads an own field of a plain object: a header of a request, say. */
export function ownField<T extends object, K extends keyof T> (object: T, key: K): T[K] | undefined {
  return Object.hasOwn(object, key) ? object[key] : undefined
}

function prototypeOf (object: object): object | null {
  return Object.getPrototypeOf(object) as object | null
}
