/** Gives the files of a group the test of their file where they import `tap`, and tap a domain that costs less. */
export async function resolve (specifier, context, next) {
  if (specifier === 'tap' && /\/test\/[^?]+\.ts/.test(context.parentURL ?? '')) return local('group-tap.js')
  // in later versions an asynchronous scope does not keep the store that was entered in it
  if (specifier === 'async-hook-domain' && Number.parseInt(process.versions.node) < 24) return local('test-domain.js')
  return await next(specifier, context)
}

function local (name) {
  return { url: new URL(`./${name}`, import.meta.url).href, shortCircuit: true }
}
