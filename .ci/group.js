import { register } from 'node:module'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'

/*
 * Runs the test files that TEST_FILES lists, one after the other in this process, which saves each the start of a
 * process of its own. tests.js starts it.
 */

register('./group-hooks.js', import.meta.url)
const { default: tap } = await import('tap')

let current = tap

/**
 * Stands for `tap` in the files of a group: their tests, teardowns and timeouts belong to the test of the file that
 * runs, and not to the whole process.
 */
export const fileTest = new Proxy({}, {
  get (_target, name) {
    const value = current[name]
    return typeof value === 'function' ? value.bind(current) : value
  }
})

const files = process.env.TEST_FILES.split('\n')
delete process.env.TEST_FILES

for (const file of files) {
  tap.test(file, async test => {
    current = test
    await import(pathToFileURL(resolve(file)).href)
  })
}
