// What the command line loads: the test says which application it is.
export default async () => await (globalThis as unknown as { audited (): Promise<object> }).audited()
