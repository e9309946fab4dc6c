"use strict";
// A node-opcua server with a force that has a unit and history, and a depth that can be written.
const { settings, tell, listen } = require("./lines.js");
const {
  OPCUAServer, DataType, Variant, StatusCodes, DataValue, makeEUInformation,
  SecurityPolicy, MessageSecurityMode, OPCUACertificateManager,
} = require("node-opcua");

(async () => {
  const server = new OPCUAServer({
    port: settings.port, resourcePath: "/UA/line",
    securityPolicies: [SecurityPolicy.None], securityModes: [MessageSecurityMode.None],
    serverCertificateManager: new OPCUACertificateManager({ rootFolder: settings.folder,
      automaticallyAcceptUnknownCertificate: true }),
    allowAnonymous: true,
  });
  await server.initialize();
  const space = server.engine.addressSpace;
  const own = space.getOwnNamespace();
  const line = own.addFolder("ObjectsFolder", { browseName: "Line" });
  const force = own.addAnalogDataItem({
    componentOf: line, nodeId: "s=Line.Force", browseName: "Force", dataType: "Double",
    description: "main force", accessLevel: "CurrentRead | HistoryRead",
    userAccessLevel: "CurrentRead | HistoryRead", engineeringUnitsRange: { low: 0, high: 100 },
    engineeringUnits: makeEUInformation("B47", "kN", "kilonewton"),
  });
  space.installHistoricalDataNode(force);
  let held = 8.0;
  const depth = own.addVariable({
    componentOf: line, nodeId: "s=Line.Depth", browseName: "Depth", dataType: "Double",
    accessLevel: "CurrentRead | CurrentWrite", userAccessLevel: "CurrentRead | CurrentWrite",
    value: {
      get: () => new Variant({ dataType: DataType.Double, value: held }),
      set: (variant) => {
        if (variant.value > 12) return StatusCodes.BadOutOfRange;
        held = variant.value;
        tell({ written: held });
        return StatusCodes.Good;
      },
    },
  });
  const running = own.addVariable({
    componentOf: line, nodeId: "s=Line.Running", browseName: "Running", dataType: "Boolean",
  });
  running.setValueFromSource({ dataType: DataType.Boolean, value: true });
  await server.start();
  tell({ ready: true });
  listen((order) => {
    force.setValueFromSource(
      { dataType: DataType.Double, value: order.value }, StatusCodes[order.status || "Good"],
      new Date(order.time),
    );
    tell({ set: order.value });
  }, () => server.shutdown(0));
})().catch((error) => { tell({ error: String(error) }); process.exit(1); });
