import { basename, dirname } from 'node:path'

/** The maximum number of files that share a process. Each process costs a second of a core before its first test. */
const largestGroup = 24
/**
 * Files with a process of their own: they take long, measure the heap, watch for unhandled rejections, wait for
 * servers, or must not have the test kit in their process.
 */
const alone = new RegExp([
  '/[\\w-]*outages', '/growth', '/interleaved', '/doctor', '/redis-[\\w-]+', '/stores/application', '/attacks/catalogue'
].map(name => `${name}\\.test\\.ts$`).join('|'))
/** Files that share a process of their own: each opens half of the connections that PostgreSQL accepts by default. */
const races = /\/races\.test\.ts$/

/** The tests of the example, which start it over and over: half of their time they wait for its processes. */
const waiting = 'test/examples'

/**
 * Divides files into groups that share a process: some alone, small folders together, and large ones in parts. Those
 * that wait come first, the longest of them before the others, so that the machine has other work meanwhile and none
 * of them is alone on it at the end.
 */
export function groupsOf (files) {
  const folders = new Map()
  for (const file of files.filter(file => !alone.test(file) && !races.test(file))) {
    folders.set(dirname(file), [...folders.get(dirname(file)) ?? [], file])
  }
  const groups = [
    ...files.filter(file => alone.test(file)).sort((a, b) => rankOf(a) - rankOf(b))
      .map(file => ({ name: basename(file, '.test.ts'), files: [file] })),
    { name: 'races', files: files.filter(file => races.test(file)) },
    ...parts(folders.get(waiting) ?? [], 2).map(files => ({ name: basename(waiting), files }))
  ].filter(({ files }) => files.length > 0)
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

/** Returns the place of a file among those that are alone: these take longest. */
function rankOf (file) {
  return /\/(?:stores\/application|attacks\/catalogue)/.test(file) ? 0 : 1
}

function parts (files, least = 1) {
  const count = Math.min(files.length, Math.max(least, Math.ceil(files.length / largestGroup)))
  return Array.from({ length: count }, (_, n) => files.filter((_file, index) => index % count === n))
}
