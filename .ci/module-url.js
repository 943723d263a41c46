import { pathToFileURL } from 'node:url'

/**
 * The URL of the running file. It is made of `import.meta.filename`, which compilers to CommonJS replace, because
 * `import.meta.url` stands for this constant in the build. In a bundle of CommonJS `import.meta` is empty.
 */
export const moduleUrl = pathToFileURL(import.meta.filename ?? __filename).href
