// An application that ends the process, or fails in a timer, while it is loaded.
switch (process.env.ENDING) {
  case 'timer': setTimeout(() => { throw new Error('no connection') })
    break
  case 'promise': setImmediate(async () => { throw new Error('no answer') })
    break
  default: process.exit(Number(process.env.ENDING))
}

export default () => new Promise(() => {})
