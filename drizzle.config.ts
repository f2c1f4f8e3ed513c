import { defineConfig } from 'drizzle-kit'

// One history per module: `npm run migrations` runs drizzle-kit once for each, with MODULE set.
const module = process.env.MODULE ?? 'seam'

export default defineConfig({
  dialect: 'postgresql',
  schema: module === 'seam' ? './src/platform/host/data/platform-tables.ts' : `./src/modules/${module}/tables.ts`,
  out: `./migrations/${module}`,
})
