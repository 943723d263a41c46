import { pathToFileURL } from 'node:url'

/** The URL of the running file, also in a bundle of CommonJS, where `import.meta` is empty. */
const { url } = import.meta
export const moduleUrl = url ?? pathToFileURL(__filename).href
