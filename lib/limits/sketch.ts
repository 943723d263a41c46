import { createHmac, randomBytes } from 'node:crypto'

/** Counts of any number of names in fixed space, for when nothing else has room: never too low, at times too high. */
export interface Sketch {
  /** Counts one unless the name's count has reached `ceiling`. */
  increment (name: string, ceiling: number): boolean
  /** Takes one back, if the window has not ended since. */
  decrement (name: string, end: number): void
  /** At least what was counted for the name in this window. */
  estimate (name: string): number
  /** When everything is forgotten, in milliseconds since 1970; 0 when nothing is held. */
  end (): number
}

const rows = 4
const width = 65_536
const most = 65_535

/**
 * A count-min sketch (Cormode and Muthukrishnan, 2005) over one window, which begins with the first count. 512 KiB, and none until it is needed.
 * Where a name falls depends on a key of this process, so that nobody can choose names that fall together.
 * @param window milliseconds.
 */
export function countSketch (window: number): Sketch {
  const key = randomBytes(32)
  let cells: Buffer | null = null
  let ends = 0

  const live = (): Buffer | null => {
    if (Date.now() >= ends) cells = null
    return cells
  }
  /** Offsets of the name's cells, of two bytes each. */
  const placesOf = (name: string): readonly number[] => {
    const digest = createHmac('sha256', key).update(name).digest()
    return Array.from({ length: rows }, (_, row) => 2 * (row * width + digest.readUInt16LE(row * 2)))
  }
  const lowest = (counts: Buffer, places: readonly number[]): number => Math.min(...places.map(place => counts.readUInt16LE(place)))
  const add = (counts: Buffer, place: number, change: 1 | -1): void => {
    counts.writeUInt16LE(Math.min(most, Math.max(0, counts.readUInt16LE(place) + change)), place)
  }

  return {
    increment (name, ceiling) {
      const counts = live() ?? Buffer.alloc(rows * width * 2)
      if (cells === null) ends = Date.now() + window
      cells = counts
      const places = placesOf(name)
      if (lowest(counts, places) >= Math.min(ceiling, most)) return false
      for (const place of places) add(counts, place, 1)
      return true
    },
    decrement (name, end) {
      const counts = live()
      if (counts === null || end !== ends) return
      for (const place of placesOf(name)) add(counts, place, -1)
    },
    estimate (name) {
      const counts = live()
      return counts === null ? 0 : lowest(counts, placesOf(name))
    },
    end: () => live() === null ? 0 : ends
  }
}
