import assert from "node:assert/strict";
import { test } from "node:test";
import { newClient } from "./client.js";

test("an item lives from creation to deletion", async (context) => {
  const call = newClient(context);
  assert.deepEqual((await call("GET", "/items")).json(), []);
  const created = await call("POST", "/items", { name: "first", note: "a note" });
  assert.equal(created.statusCode, 201);
  const item = created.json();
  assert.deepEqual(item, { id: item.id, name: "first", note: "a note" });
  assert.deepEqual((await call("GET", `/items/${item.id}`)).json(), item);
  assert.deepEqual((await call("GET", "/items")).json(), [item]);
  assert.equal((await call("DELETE", `/items/${item.id}`)).statusCode, 204);
  assert.deepEqual((await call("GET", "/items")).json(), []);
});

test("a note is optional", async (context) => {
  const call = newClient(context);
  assert.equal((await call("POST", "/items", { name: "x" })).json().note, "");
});

test("items are listed oldest first", async (context) => {
  const call = newClient(context);
  for (const name of ["b", "a", "c"]) {
    await call("POST", "/items", { name });
  }
  const items: { name: string }[] = (await call("GET", "/items")).json();
  assert.deepEqual(
    items.map(({ name }) => name),
    ["b", "a", "c"],
  );
});

test("an item that does not exist", async (context) => {
  const call = newClient(context);
  for (const method of ["GET", "DELETE"] as const) {
    const response = await call(method, "/items/absent");
    assert.equal(response.statusCode, 404);
    assert.deepEqual(response.json(), { message: "there is no item absent" });
  }
});

test("items that are refused", async (context) => {
  const call = newClient(context);
  for (const body of [
    {},
    [],
    { name: "" },
    { name: 1 },
    { name: "x".repeat(101) },
    { name: "x", note: "x".repeat(1001) },
    { name: "x", other: 1 },
  ]) {
    assert.equal((await call("POST", "/items", body)).statusCode, 400, JSON.stringify(body));
  }
  assert.deepEqual((await call("GET", "/items")).json(), []);
});
