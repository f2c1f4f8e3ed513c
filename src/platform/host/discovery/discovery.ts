/** Where an instance of a module can be reached. */
export interface Endpoint {
  /** `http://host:port` */
  readonly origin: string
  /** Its share among those of its priority; 1 where nothing is said. */
  readonly weight: number
  /** Instances of the lowest number are asked, others only while none of these can be; 0 where nothing is said. */
  readonly priority: number
}

/** Finds the instances of modules that run in other processes, and goes on finding them. */
export interface Discovery {
  /** Begins to look, and waits for a first answer, but not long: where there is none, modules have no instances yet. */
  start(): Promise<void>
  /** The instances that are known at this moment; the same list until it changes. */
  endpointsOf(module: string): readonly Endpoint[]
  close(): Promise<void>
}
