import { fileURLToPath } from 'node:url'

const own = fileURLToPath(new URL('..', import.meta.url))

/** Frames that are looked at: those of Fastify and of wrappers stand above the application's. */
const depth = 50

/**
 * Returns the path of the file that declares the route of the running `onRoute` hook: the nearest file of the
 * application on the stack, else of the library that brings the route along. `null` when there is none.
 *
 * Takes the frames as V8 has them, because a stack as text resolves source maps, which costs milliseconds a route.
 */
export function declaringFile (): string | null {
  const { prepareStackTrace, stackTraceLimit } = Error
  let path: string | null = null
  Error.stackTraceLimit = depth
  Error.prepareStackTrace = (_error, sites) => {
    path = declarerOf(sites)
    return ''
  }
  void new Error('where').stack
  Error.prepareStackTrace = prepareStackTrace
  Error.stackTraceLimit = stackTraceLimit
  return path
}

function declarerOf (sites: readonly NodeJS.CallSite[]): string | null {
  let library: string | null = null
  // the hook itself, which is always on top
  let isHook = true
  for (const site of sites) {
    const file = fileOf(site.getFileName() ?? '')
    isHook &&= file?.kind === 'own'
    if (file === null || isHook || file.kind === 'framework') continue
    if (file.kind === 'application') return file.path
    library ??= file.path
  }
  return library
}

interface StackFile {
  readonly path: string
  readonly kind: 'application' | 'library' | 'framework' | 'own'
}

const known = new Map<string, StackFile | null>()

function fileOf (name: string): StackFile | null {
  const cached = known.get(name)
  if (cached !== undefined) return cached
  const path = toPath(name)
  const file = path === null ? null : { path, kind: kindOf(path) }
  known.set(name, file)
  return file
}

/** Returns `null` for what is no file: parts of Node itself, evaluated code, whatever name a script was given. */
function toPath (name: string): string | null {
  if (/^(?:\/|[A-Za-z]:\\)/.test(name)) return name
  try {
    return name.startsWith('file://') ? fileURLToPath(name) : null
  } catch {
    return null
  }
}

function kindOf (path: string): StackFile['kind'] {
  if (path.startsWith(own)) return 'own'
  if (!/[\\/]node_modules[\\/]/.test(path)) return 'application'
  return /[\\/]node_modules[\\/](?:fastify|avvio|fastq)[\\/]/.test(path) ? 'framework' : 'library'
}
