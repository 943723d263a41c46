/** Gives the files of a group the test of their file where they import `tap`, and tap our domains. */
export async function resolve (specifier, context, next) {
  if (specifier === 'async-hook-domain') return own('./domain.js')
  if (specifier === 'tap' && /\/test\/[^?]+\.ts/.test(context.parentURL ?? '')) return own('./group-tap.js')
  return await next(specifier, context)
}

function own (path) {
  return { url: new URL(path, import.meta.url).href, shortCircuit: true }
}
