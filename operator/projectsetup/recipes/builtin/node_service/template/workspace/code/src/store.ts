import { randomUUID } from "node:crypto";
import { type Static, Type } from "@fastify/type-provider-typebox";

/** An item as callers send it. */
export const NewItem = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: 100 }),
    note: Type.String({ maxLength: 1000, default: "" }),
  },
  { additionalProperties: false },
);
export type NewItem = Static<typeof NewItem>;

/** An item as the service keeps it. */
export const Item = Type.Object({ id: Type.String(), name: Type.String(), note: Type.String() });
export type Item = Static<typeof Item>;

/** Items, kept in memory. Replace the store with a database to make them persistent. */
export class ItemStore {
  readonly #items = new Map<string, Item>();

  /** Every item, oldest first. */
  all(): Item[] {
    return [...this.#items.values()];
  }

  add(item: NewItem): Item {
    const added = { id: randomUUID(), ...item };
    this.#items.set(added.id, added);
    return added;
  }

  get(id: string): Item | undefined {
    return this.#items.get(id);
  }

  /** Returns false if there was no such item. */
  remove(id: string): boolean {
    return this.#items.delete(id);
  }
}
