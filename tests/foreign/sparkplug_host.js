"use strict";
// What another Sparkplug codec makes of our edge node's messages, and commands from it.
const { settings, tell, listen } = require("./lines.js");
const mqtt = require("mqtt");
const codec = require("sparkplug-payload").get("spBv1.0");
const { Payload } = require("sparkplug-payload/lib/sparkplugPayloadProto").org.eclipse.tahu.protobuf;
const FIELDS = ["intValue", "longValue", "floatValue", "doubleValue", "booleanValue", "stringValue"];
// The codec gives a value only with a data type, which data have in births alone: take the field.
const raw = (metric) => {
  const field = FIELDS.find((name) => Object.prototype.hasOwnProperty.call(metric, name));
  const value = field ? metric[field] : null;
  return value && value.toSigned ? value.toSigned().toNumber() : value;
};

const client = mqtt.connect(settings.server, { clientId: settings.client });
const plain = (value) => (value && value.toNumber ? value.toNumber()
  : typeof value === "bigint" ? Number(value) : value);
client.on("message", (topic, data) => {
  const [, , kind, node, device] = topic.split("/");
  const payload = codec.decodePayload(data);
  const plainly = Payload.decode(data).metrics.map(raw);
  tell({ kind, node, device: device || "", seq: plain(payload.seq), metrics: payload.metrics.map(
    (m, n) => ({ name: m.name || "", alias: m.alias === undefined ? null : plain(m.alias), type: m.type,
      value: plainly[n], time: plain(m.timestamp), historical: Boolean(m.isHistorical),
      unit: m.properties && m.properties.engUnit ? m.properties.engUnit.value : "" }),
  ) });
});
client.on("connect", () => client.subscribe(`spBv1.0/${settings.group}/#`, () => tell({ ready: true })));
listen((order) => {
  const topic = `spBv1.0/${settings.group}/${order.kind}/${order.node}${order.device ? "/" + order.device : ""}`;
  client.publish(topic, Buffer.from(codec.encodePayload({ timestamp: Date.now(), metrics: order.metrics })));
}, () => client.end(true));
