import { randomUUID } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { Session } from 'node:inspector'
import { findSourceMap } from 'node:module'
import { join } from 'node:path'

const lib = new URL('../lib/', import.meta.url).href

/**
 * Records which code of `lib` this process runs, and writes it into a folder when it ends, in the form that Node gives
 * to coverage and `tap report` reads.
 */
export function recordCoverage (folder) {
  const session = new Session()
  session.connect()
  session.post('Profiler.enable')
  session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true })
  process.once('exit', () => {
    session.post('Profiler.takePreciseCoverage', (error, coverage) => {
      if (error !== null) throw error
      const result = coverage.result.filter(script => script.url.startsWith(lib))
      if (result.length > 0) writeFileSync(join(folder, `${randomUUID()}.json`), JSON.stringify(withSourceMaps(result)))
    })
  })
}

function withSourceMaps (result) {
  const maps = result.map(({ url }) => {
    const { payload, lineLengths } = findSourceMap(url)
    return [url, { lineLengths, data: payload }]
  })
  return { result, 'source-map-cache': Object.fromEntries(maps) }
}
