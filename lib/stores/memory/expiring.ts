/** A map of which each entry ends at an instant (milliseconds since 1970; `Infinity`: never) and is gone from it without a timer. */
export interface ExpiringMap<V> {
  get (key: string, now: number): V | undefined
  /** Makes or replaces an entry. Of room for it the caller asks before. */
  set (key: string, value: V, at: number): void
  delete (key: string): void
  /** How many entries are left when what has expired by now is gone. */
  sizeAt (now: number): number
}

interface Slot<V> {
  readonly key: string
  value: V
  at: number
  /** Where it stands in the heap; `Infinity` when it is not in it. Never later than `at`. */
  due: number
  live: boolean
}

/** Dead slots that the heap carries along before it is cleaned, beside as many as there are live ones. */
const idle = 1_024

/**
 * Looking up, replacing with a later end and deleting cost the same whatever the size: a slot whose end moved later stays where it is in the heap until
 * its first end comes, and a deleted one until its turn, or until the dead are more than the living.
 * @param ended is told of each entry that expired.
 */
export function expiringMap<V> (ended: (value: V) => void = () => {}): ExpiringMap<V> {
  const slots = new Map<string, Slot<V>>()
  let heap: Array<Slot<V>> = []

  function get (key: string, now: number): V | undefined {
    const slot = slots.get(key)
    return slot !== undefined && slot.at > now ? slot.value : undefined
  }

  function set (key: string, value: V, at: number): void {
    const slot = slots.get(key)
    if (slot !== undefined && at >= slot.due) {
      slot.value = value
      slot.at = at
      return
    }
    if (slot !== undefined) slot.live = false
    const made = { key, value, at, due: at, live: true }
    slots.set(key, made)
    if (at !== Infinity) push(heap, made)
    clean()
  }

  function remove (key: string): void {
    const slot = slots.get(key)
    if (slot === undefined) return
    slot.live = false
    slots.delete(key)
    clean()
  }

  function clean (): void {
    if (heap.length <= 2 * slots.size + idle) return
    // what is sorted is a heap
    heap = heap.filter(slot => slot.live).sort((a, b) => a.due - b.due)
  }

  function sizeAt (now: number): number {
    for (let first = heap[0]; first !== undefined && first.due <= now; first = heap[0]) {
      pop(heap)
      if (first.live) settle(first, now)
    }
    return slots.size
  }

  function settle (slot: Slot<V>, now: number): void {
    slot.due = slot.at
    if (slot.at <= now) {
      slot.live = false
      slots.delete(slot.key)
      ended(slot.value)
    } else if (slot.at !== Infinity) push(heap, slot)
  }

  return { get, set, delete: remove, sizeAt }
}

interface Due { readonly due: number }

function push<T extends Due> (heap: T[], item: T): void {
  let at = heap.length
  heap.push(item)
  while (at > 0) {
    const above = (at - 1) >> 1
    const parent = heap[above]
    if (parent === undefined || parent.due <= item.due) break
    heap[at] = parent
    at = above
  }
  heap[at] = item
}

/** Removes the first. */
function pop<T extends Due> (heap: T[]): void {
  const item = heap.pop()
  if (item === undefined || heap.length === 0) return
  let at = 0
  for (;;) {
    const below = lesserChild(heap, at)
    const child = heap[below]
    if (child === undefined || child.due >= item.due) break
    heap[at] = child
    at = below
  }
  heap[at] = item
}

function lesserChild<T extends Due> (heap: readonly T[], at: number): number {
  const left = 2 * at + 1
  const [a, b] = [heap[left], heap[left + 1]]
  return a !== undefined && b !== undefined && b.due < a.due ? left + 1 : left
}
