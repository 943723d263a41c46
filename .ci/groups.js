import { basename, dirname } from 'node:path'

/** The maximum number of files that share a process. Each process costs over a second of a core before its tests. */
const largestGroup = 24
/**
 * Files that share a process with files of the same pattern only: they take long, measure the heap, watch for unhandled
 * rejections, wait for servers, or must not have the test kit in their process. The processes start in this order.
 */
const processes = [
  '/stores/application-outages',
  '/attacks/catalogue',
  '/stores/application',
  '/redis-[\\w-]+',
  '/outages',
  '/growth',
  // the first loads the test kit, about which the others would report
  '/doctor/doctor',
  '/doctor',
  '/interleaved',
  // each opens half of the connections that PostgreSQL accepts by default, so that no two may run at a time
  '/races'
].map(name => new RegExp(`${name}\\.test\\.ts$`))

/** The tests of the example, which start it over and over: half of their time they wait for its processes. */
const waiting = 'test/examples'

/**
 * Divides files into groups that share a process: some by themselves, small folders together, and large ones in parts.
 * Those that wait come first, so that the machine has other work meanwhile and none of them is alone on it at the end.
 */
export function groupsOf (files) {
  const inProcess = processes.map(() => [])
  const folders = new Map()
  for (const file of files) {
    const process = inProcess[processes.findIndex(pattern => pattern.test(file))]
    if (process !== undefined) process.push(file)
    else folders.set(dirname(file), [...folders.get(dirname(file)) ?? [], file])
  }
  const groups = [...inProcess, ...parts(folders.get(waiting) ?? [], 2)]
    .filter(files => files.length > 0)
    .map(files => ({ name: basename(files[0], '.test.ts'), files }))
  folders.delete(waiting)
  let open = { name: '', files: [] }
  for (const [path, inFolder] of folders) {
    for (const part of parts(inFolder)) {
      if (open.files.length === 0 || open.files.length + part.length > largestGroup) {
        groups.push(open = { name: basename(path), files: [] })
      }
      open.files.push(...part)
    }
  }
  return groups
}

function parts (files, least = 1) {
  const count = Math.min(files.length, Math.max(least, Math.ceil(files.length / largestGroup)))
  return Array.from({ length: count }, (_, n) => files.filter((_file, index) => index % count === n))
}
