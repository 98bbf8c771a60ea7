// OpenAI's JavaScript client and the AI SDK against a server: node clients.mjs URL KEY MODEL
import assert from "node:assert/strict";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateObject, generateText, streamText, tool } from "ai";
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

const [baseURL, apiKey, model] = process.argv.slice(2);
const City = z.object({ city: z.enum(["Oslo", "Rome"]), big: z.boolean() });
const messages = [{ role: "user", content: "Tell me about the sea." }];

const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const whole = await client.chat.completions.create({ model, messages });
assert.ok(whole.la_agents.alignment);
let text = "";
let usage;
for await (const chunk of await client.chat.completions.create({
  model,
  messages,
  stream: true,
  stream_options: { include_usage: true },
})) {
  text += chunk.choices[0]?.delta.content ?? "";
  usage = chunk.usage ?? usage;
}
assert.equal(text, whole.choices[0].message.content);
assert.deepEqual(usage, whole.usage);

const parsed = await client.chat.completions.parse({
  model,
  messages,
  max_tokens: 120,
  response_format: zodResponseFormat(City, "city"),
});
assert.ok(City.parse(parsed.choices[0].message.parsed));

const streamed = client.responses.stream({ model, input: "Tell me about the sea." });
let deltas = "";
streamed.on("response.output_text.delta", (event) => (deltas += event.delta));
const response = await streamed.finalResponse();
assert.equal(response.output_text, deltas);
assert.notEqual(deltas, "");

await assert.rejects(client.chat.completions.create({ model: "other", messages }), (error) => error.status === 404 && error.code === "model_not_found");
await assert.rejects(new OpenAI({ baseURL, apiKey: "la-none", maxRetries: 0 }).models.list(), (error) => error.status === 401);

const provider = createOpenAICompatible({ name: "la-agents", baseURL, apiKey, supportsStructuredOutputs: true, includeUsage: true });
const generated = await generateText({ model: provider(model), prompt: "Tell me about the sea." });
assert.equal(generated.text, whole.choices[0].message.content);
assert.equal(generated.usage.inputTokens, whole.usage.prompt_tokens);

let said = "";
for await (const part of streamText({ model: provider(model), prompt: "Tell me about the sea." }).textStream) said += part;
assert.equal(said, generated.text);

const { object } = await generateObject({ model: provider(model), schema: City, prompt: "Where?", maxOutputTokens: 120 });
assert.ok(City.parse(object));

const called = await generateText({
  model: provider(model),
  prompt: "How is it in Oslo?",
  toolChoice: "required",
  maxOutputTokens: 200,
  tools: { weather: tool({ inputSchema: City }) },
});
assert.equal(called.toolCalls[0].toolName, "weather");
assert.ok(City.parse(called.toolCalls[0].input));
console.log("all well");
