import { Registry } from 'prom-client'
import t from 'tap'
import { Balancer } from '../../../../src/platform/host/balancing/balancer.ts'
import type { Discovery, Endpoint } from '../../../../src/platform/host/discovery/discovery.ts'
import { staticDiscovery } from '../../../../src/platform/host/discovery/static.ts'
import { hedged } from '../../../../src/platform/host/rpc/policies/hedged.ts'
import { RetryBudgets } from '../../../../src/platform/host/rpc/policies/retry-budget.ts'
import { exposeResilience } from '../../../../src/platform/host/rpc/resilience-metrics.ts'
import { callOf } from './policies/calls.ts'

const at = (...origins: string[]): readonly Endpoint[] => origins.map((origin) => ({ origin, weight: 1, priority: 0 }))

t.test('what the policies do is exposed, for modules that were asked and instances that are known', async (t) => {
  let endpoints = at('http://a', 'http://b')
  const discovery: Discovery = { ...staticDiscovery(new Map()), endpointsOf: () => endpoints }
  const [registry, balancer, budgets] = [new Registry(), new Balancer(discovery), new RetryBudgets()]
  exposeResilience(registry, { balancer, budgets })
  t.notMatch(await registry.metrics(), /^seam_\w+\{/m, 'nothing was asked yet')

  const [a, b] = balancer.instancesOf('mill')
  const failing = (times: number) => {
    for (let n = 0; n < times; n++) {
      a!.began()
      a!.ended('failed')
    }
  }
  failing(5)
  const labels = (instance: string) => `{module="mill",origin="http://${instance}"}`
  let metrics = await registry.metrics()
  t.match(metrics, `seam_breaker_state${labels('a')} 2\n`)
  t.match(metrics, `seam_breaker_state${labels('b')} 0\n`)
  a!.began()
  t.match(await registry.metrics(), `seam_breaker_state${labels('a')} 1\n`)
  a!.ended('failed')
  t.match(await registry.metrics(), `seam_breaker_openings_total${labels('a')} 1\n`, 'a try that fails is no opening')
  a!.began()
  a!.ended('answered', 2_000)
  failing(5)
  a!.began()
  a!.ended('answered', 2_000)
  b!.began()
  b!.ended('answered', 2)
  balancer.pick('mill')
  metrics = await registry.metrics()
  t.match(metrics, `seam_breaker_openings_total${labels('a')} 2\n`)
  t.match(metrics, `seam_outliers_total${labels('a')} 1\n`)
  t.match(metrics, `seam_outliers_total${labels('b')} 0\n`)

  const budget = budgets.of('mill')
  t.strictSame(
    Array.from({ length: 5 }, () => budget.take(-5_000)),
    [true, true, true, false, false],
  )
  const alive = setInterval(() => {}, 1_000)
  await hedged(budgets)(() => new Promise((resolve) => setTimeout(resolve, 60)))(callOf('hasty'))
  clearInterval(alive)
  metrics = await registry.metrics()
  t.match(metrics, 'seam_retries_total{module="mill"} 3\n')
  t.match(metrics, 'seam_retries_refused_total{module="mill"} 2\n')
  t.match(metrics, 'seam_hedges_total{module="mill"} 1\n')

  endpoints = at('http://b', 'http://c')
  metrics = await registry.metrics()
  t.notMatch(metrics, 'http://a', 'one that has gone takes its numbers along')
  t.match(metrics, `seam_breaker_state${labels('c')} 0\n`)
})
