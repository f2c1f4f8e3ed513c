/** Where an instance of a module can be reached. */
export interface Endpoint {
  /** `http://host:port` */
  readonly origin: string
  /** Its share among those of its priority; 1 where nothing is said. At 0 it is asked only while no other can be. */
  readonly weight: number
  /** Instances of the lowest number are asked, others only while none of these can be; 0 where nothing is said. */
  readonly priority: number
}

/** Where this process itself listens. */
export interface Ports {
  readonly port: number
  readonly opsPort: number
  /** How many processes share these, to be asked as much more than others; 1 where nothing is said. */
  readonly workers?: number
}

/** Finds the instances of modules that run in other processes, and goes on finding them. */
export interface Discovery {
  /** Begins to look, and waits for a first answer, but not long: where there is none, modules have no instances yet. */
  start(): Promise<void>
  /** The instances that are known at this moment; the same list until it changes. */
  endpointsOf(module: string): readonly Endpoint[]
  /** Tells others that the modules of this process can be asked, where there is somebody to tell. Never rejects. */
  register(ports: Ports): Promise<void>
  /** Takes that back, and waits until others have heard it, but not long. Never rejects. */
  deregister(): Promise<void>
  close(): Promise<void>
}
