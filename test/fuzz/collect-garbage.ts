// Loaded into the processes under test (NODE_OPTIONS=--import), so that they can be told from outside to collect garbage.
process.on('SIGWINCH', () => {
  globalThis.gc?.()
})
