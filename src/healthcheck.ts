// For containers: ends with 0 when the process beside this one should be sent requests (`/readyz` on OPS_PORT), else with 1.
const port = process.env.OPS_PORT || Number(process.env.PORT || 8000) + 1000
const answer = await fetch(`http://127.0.0.1:${port}/readyz`, { signal: AbortSignal.timeout(2_000) }).catch(() => null)
process.exit(answer?.ok ? 0 : 1)
