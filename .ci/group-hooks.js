/** Gives the files of a group the test of their file where they import `tap`. */
export async function resolve (specifier, context, next) {
  if (specifier === 'tap' && /\/test\/[^?]+\.ts/.test(context.parentURL ?? '')) {
    return { url: new URL('./group-tap.js', import.meta.url).href, shortCircuit: true }
  }
  return await next(specifier, context)
}
