import { basename, dirname } from 'node:path'

/** The maximum number of files that share a process. Each process costs a second of a core before its first test. */
const largestGroup = 24
/**
 * Files with a process of their own: they measure the heap, watch for unhandled rejections, wait for servers, or must
 * not have the test kit in their process.
 */
const alone = /\/(?:[\w-]*outages|growth|interleaved|doctor|redis-[\w-]+|stores\/application)\.test\.ts$/
/** Files that share a process of their own: each opens half of the connections that PostgreSQL accepts by default. */
const races = /\/races\.test\.ts$/

/** The tests of the example, which start it over and over: half of their time they wait for its processes. */
const waiting = 'test/examples'
/** Files that take longest, and wait for most of that time. */
const longest = /\/stores\/application[\w-]*\.test\.ts$/

/**
 * Divides files into groups that share a process: some alone, small folders together, and large ones in parts. Those
 * that take longest come first, so that none of them is alone on the machine at the end.
 */
export function groupsOf (files) {
  const folders = new Map()
  for (const file of files.filter(file => !alone.test(file) && !races.test(file))) {
    folders.set(dirname(file), [...folders.get(dirname(file)) ?? [], file])
  }
  const single = [
    { name: 'races', files: files.filter(file => races.test(file)) },
    ...files.filter(file => alone.test(file))
      .map(file => ({ name: basename(file, '.test.ts'), files: [file] }))
  ].filter(({ files }) => files.length > 0)
  const groups = [
    ...parts(folders.get(waiting) ?? [], 2).map(files => ({ name: basename(waiting), files })),
    ...single.filter(({ files: [file] }) => longest.test(file))
  ]
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
  return [...groups, ...single.filter(({ files: [file] }) => !longest.test(file))]
}

function parts (files, least = 1) {
  const count = Math.min(files.length, Math.max(least, Math.ceil(files.length / largestGroup)))
  return Array.from({ length: count }, (_, n) => files.filter((_file, index) => index % count === n))
}
