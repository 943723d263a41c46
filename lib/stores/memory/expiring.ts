import { Heap } from './heap.js'

/** A map of which each entry ends at an instant (milliseconds since 1970; `Infinity`: never) and is gone from it without a timer. */
export interface ExpiringMap<V> {
  get (key: string, now: number): V | undefined
  /** The entry itself, whose value may be changed in place. */
  find (key: string, now: number): Entry<V> | undefined
  /** Makes or replaces an entry. Of room for it the caller asks before. */
  set (key: string, value: V, at: number): void
  delete (key: string): void
  /** How many entries are left when what has expired by now is gone. */
  sizeAt (now: number): number
}

/** What a map keeps of one key. */
export interface Entry<V> {
  value: V
  /** When it ends. */
  readonly at: number
}

interface Slot<V> extends Entry<V> {
  readonly key: string
  at: number
}

/** Dead slots that the heap carries along before it is cleaned, beside as many as there are live ones. */
const idle = 1_024

/**
 * Looking up, replacing with a later end and deleting cost the same whatever the size: a slot whose end moved later stays where it is in the heap until
 * its first end comes, and a deleted one until its turn, or until the dead are more than the living. A slot is dead when its key has another, or none.
 * @param ended is told of each entry that expired.
 */
export function expiringMap<V> (ended: (value: V) => void = () => {}): ExpiringMap<V> {
  const slots = new Map<string, Slot<V>>()
  const heap = new Heap<Slot<V>>()
  const isLive = (slot: Slot<V>): boolean => slots.get(slot.key) === slot

  function find (key: string, now: number): Entry<V> | undefined {
    const slot = slots.get(key)
    return slot !== undefined && slot.at > now ? slot : undefined
  }

  function set (key: string, value: V, at: number): void {
    const slot = slots.get(key)
    if (slot !== undefined && at >= slot.at) {
      slot.value = value
      slot.at = at
      return
    }
    const made = { key, value, at }
    slots.set(key, made)
    if (at !== Infinity) heap.push(made, at)
    clean()
  }

  function remove (key: string): void {
    if (slots.delete(key)) clean()
  }

  function clean (): void {
    if (heap.size > 2 * slots.size + idle) heap.keep(isLive)
  }

  function sizeAt (now: number): number {
    for (let first = heap.take(now); first !== undefined; first = heap.take(now)) {
      if (isLive(first)) settle(first, now)
    }
    return slots.size
  }

  function settle (slot: Slot<V>, now: number): void {
    if (slot.at <= now) {
      slots.delete(slot.key)
      ended(slot.value)
    } else if (slot.at !== Infinity) heap.push(slot, slot.at)
  }

  return { get: (key, now) => find(key, now)?.value, find, set, delete: remove, sizeAt }
}
