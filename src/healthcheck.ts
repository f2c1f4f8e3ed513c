import { get } from 'node:http'

// For containers: ends with 0 when the process beside this one should be sent requests (`/readyz` on OPS_PORT), else with 1.
const port = process.env.OPS_PORT || Number(process.env.PORT || 8000) + 1000
get({ host: '127.0.0.1', port, path: '/readyz', timeout: 5_000 }, ({ statusCode }) =>
  process.exit(statusCode === 200 ? 0 : 1),
)
  .on('timeout', () => process.exit(1))
  .on('error', () => process.exit(1))
