import type { FastifyPluginAsync } from "fastify";
import { NAME, VERSION } from "./about.js";

/** The health check for probes and load balancers. */
export const health: FastifyPluginAsync = async (app) => {
  app.get("/health", async () => ({ status: "ok", name: NAME, version: VERSION }));
};
