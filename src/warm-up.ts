import { glob } from 'node:fs/promises'
import { enableCompileCache, flushCompileCache } from 'node:module'

// For the image: compiles all that a process may load, so that those that start from it need not. Programs are left out,
// because importing one would run it.
const programs = ['main.ts', 'worker.ts', 'migrate.ts', 'seam.ts', 'healthcheck.ts', 'warm-up.ts']
enableCompileCache(new URL('../node_modules/.cache/compile', import.meta.url).pathname)
for await (const file of glob('**/*.ts', { cwd: import.meta.dirname }))
  if (!programs.includes(file)) await import(`./${file}`)
flushCompileCache()
