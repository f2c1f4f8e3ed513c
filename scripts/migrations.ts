// Writes the migrations that the modules' tables.ts ask for: `npm run migrations [-- --name what-changed]`.
import { spawnSync } from 'node:child_process'
import { globSync, readFileSync, writeFileSync } from 'node:fs'
import { catalogue } from '../src/modules/catalogue.ts'

for (const module of ['seam', ...catalogue.map((manifest) => manifest.contract.name)]) {
  const args = ['drizzle-kit', 'generate', '--config', 'drizzle.config.ts', ...process.argv.slice(2)]
  const { status } = spawnSync('npx', args, { env: { ...process.env, MODULE: module }, stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
  // The platform makes the schema before it keeps the history in it, so it is there already.
  for (const file of globSync(`migrations/${module}/*.sql`)) {
    const text = readFileSync(file, 'utf8')
    const safe = text.replace(/CREATE SCHEMA "/g, 'CREATE SCHEMA IF NOT EXISTS "')
    if (safe !== text) writeFileSync(file, safe)
  }
}
