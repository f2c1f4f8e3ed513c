import hooks from 'node:async_hooks'
import { syncBuiltinESMExports } from 'node:module'

// tap follows every promise and timer, to say to which test an error belongs that nobody caught. It takes a tenth of the
// time; without it, such an error ends the file, which fails as well. The hooks of tests work as ever.
const { createHook } = hooks
const idle: hooks.AsyncHook = { enable: () => idle, disable: () => idle }
hooks.createHook = (callbacks) => (new Error().stack!.includes('/async-hook-domain/') ? idle : createHook(callbacks))
syncBuiltinESMExports()
