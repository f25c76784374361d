import type { FastifyInstance } from "fastify";

/** Finishes the current requests, and closes their connections after so many milliseconds. */
export async function closeWithin(app: FastifyInstance, limit: number): Promise<void> {
  const timer = setTimeout(() => {
    app.log.warn("stopped before all requests were finished");
    app.server.closeAllConnections();
  }, limit);
  await app.close();
  clearTimeout(timer);
}
