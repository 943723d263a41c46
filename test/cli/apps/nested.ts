// Node sees the default export of compiled CommonJS one level deeper.
export default {
  __esModule: true, default: () => (globalThis as unknown as { audited (): Promise<object> }).audited()
}
