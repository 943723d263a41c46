// What a CommonJS module that a compiler wrote is to Node: its default export is one level deeper.
export default {
  __esModule: true, default: () => (globalThis as unknown as { audited (): Promise<object> }).audited()
}
