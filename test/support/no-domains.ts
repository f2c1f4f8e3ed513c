import hooks from 'node:async_hooks'
import { syncBuiltinESMExports } from 'node:module'

// tap follows every promise and timer, to say to which test an error belongs that nobody caught. It takes a tenth of the
// time; without it, such an error ends the file, which fails as well. Hooks of the tests' own stay as they are.
const { createHook } = hooks
hooks.createHook = (callbacks) => (Object.keys(callbacks).join() === 'init,destroy' ? IDLE : createHook(callbacks))
syncBuiltinESMExports()

const IDLE: hooks.AsyncHook = { enable: () => IDLE, disable: () => IDLE }
