/** The figures of one path, in µs. */
export interface ChartRow {
  readonly name: string
  readonly guard: number
  readonly byHand: number
  /** `null` if no other package does the same. */
  readonly peer: number | null
}

const left = 210
const width = 760
const rowHeight = 40
const barHeight = 10
const top = 46
const smallest = 0.1
const largest = 200

const style = `
  text { font: 12px system-ui, sans-serif; fill: #1f2937 }
  .value { font-size: 10px; fill: #6b7280 }
  .grid { stroke: #e5e7eb }
  .guard { fill: #0f766e }
  .hand { fill: #cbd5e1 }
  .peer { fill: #f59e0b }
  @media (prefers-color-scheme: dark) {
    text { fill: #e5e7eb }
    .value { fill: #9ca3af }
    .grid { stroke: #374151 }
    .guard { fill: #2dd4bf }
    .hand { fill: #64748b }
  }`

/** Draws the figures as bars on a logarithmic scale, readable on light and dark pages. Returns the SVG document. */
export function chart (rows: readonly ChartRow[]): string {
  const height = top + rows.length * rowHeight + 10
  const lines = [0.1, 1, 10, 100].map(us =>
    `<line class="grid" x1="${position(us)}" x2="${position(us)}" y1="${top - 8}" y2="${height}"/>` +
    `<text class="value" x="${position(us)}" y="${top - 12}" text-anchor="middle">${us} µs</text>`)
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img">`,
    '<title>CPU time of a request in µs: the guard, a hook written by hand, and another package</title>',
    `<style>${style}</style>`,
    ...legend(), ...lines, ...rows.flatMap(drawRow), '</svg>', ''
  ].join('\n')
}

function position (us: number): number {
  const share = Math.log(Math.max(us, smallest) / smallest) / Math.log(largest / smallest)
  return Math.round(left + share * (width - left - 50))
}

function drawRow ({ name, guard, byHand, peer }: ChartRow, i: number): readonly string[] {
  const y = top + i * rowHeight
  return [
    `<text x="${left - 8}" y="${y + 20}" text-anchor="end">${name}</text>`,
    bar('guard', y, guard),
    bar('hand', y + barHeight + 1, byHand),
    peer === null ? '' : bar('peer', y + 2 * (barHeight + 1), peer)
  ]
}

function bar (kind: string, y: number, us: number): string {
  const end = position(us)
  return `<rect class="${kind}" x="${left}" y="${y}" width="${Math.max(1, end - left)}" height="${barHeight}"/>` +
    `<text class="value" x="${end + 4}" y="${y + 9}">${us < smallest ? `under ${smallest}` : us.toFixed(1)}</text>`
}

function legend (): readonly string[] {
  const entries = [['guard', 'the guard'], ['hand', 'a hook written by hand'], ['peer', 'another package']] as const
  return entries.map(([kind, text], i) =>
    `<rect class="${kind}" x="${left + i * 180}" y="6" width="12" height="12"/>` +
    `<text x="${left + i * 180 + 18}" y="16">${text}</text>`)
}
