import { type FastifyPluginAsyncTypebox, Type } from "@fastify/type-provider-typebox";
import { Item, type ItemStore, NewItem } from "./store.js";

const Problem = Type.Object({ message: Type.String() });
const ById = Type.Object({ id: Type.String() });

/** The routes of /items, backed by the store. */
export function itemRoutes(store: ItemStore): FastifyPluginAsyncTypebox {
  return async (app) => {
    app.get("/items", { schema: { response: { 200: Type.Array(Item) } } }, async () => store.all());

    app.post(
      "/items",
      { schema: { body: NewItem, response: { 201: Item } } },
      async (request, reply) => reply.code(201).send(store.add(request.body)),
    );

    app.get(
      "/items/:id",
      { schema: { params: ById, response: { 200: Item, 404: Problem } } },
      async (request, reply) => {
        const item = store.get(request.params.id);
        return item ?? reply.code(404).send(noSuchItem(request.params.id));
      },
    );

    app.delete(
      "/items/:id",
      { schema: { params: ById, response: { 204: Type.Null(), 404: Problem } } },
      async (request, reply) => {
        if (!store.remove(request.params.id)) {
          return reply.code(404).send(noSuchItem(request.params.id));
        }
        return reply.code(204).send(null);
      },
    );
  };
}

function noSuchItem(id: string): { message: string } {
  return { message: `there is no item ${id}` };
}
