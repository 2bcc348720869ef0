//! Remote management and discovery of devices.

use super::join;

/// SNMP: sysDescr.0, as an SNMPv1 GetRequest of the community `public` (RFC 1157, section 4.1.2; RFC 1213).
pub(super) const SNMP: [u8; 43] = join(&[
    &[0x30, 41],
    &[0x02, 1, 0], // version 1
    b"\x04\x06public",
    &[0xa0, 28],                        // GetRequest
    &[0x02, 4, 0x78, 0x64, 0x70, 0x6d], // request id
    &[0x02, 1, 0, 0x02, 1, 0],          // no error
    &[0x30, 14, 0x30, 12],
    &[0x06, 8, 0x2b, 6, 1, 2, 1, 1, 1, 0], // 1.3.6.1.2.1.1.1.0
    &[0x05, 0],
]);

/// Service Location Protocol: the types of all services (RFC 2608, sections 8 and 10.1).
pub(super) const SLP: [u8; 29] = join(&[
    &[2, 9],          // version 2, service type request
    &[0, 0, 29],      // length
    &[0, 0],          // flags
    &[0, 0, 0],       // no extension
    &[0x78, 0x64],    // id
    b"\0\x02en",      // language
    &[0, 0],          // no previous responders
    &[0xff, 0xff],    // of all naming authorities
    b"\0\x07default", // scope
]);

/// RMCP: an ASF presence ping, which IPMI's BMCs answer (ASF 2.0, sections 3.2.2.1 and 3.2.4.1).
pub(super) const RMCP: [u8; 12] = [
    6, 0, 0xff, 6, // RMCP 1.0, no acknowledgement, class ASF
    0, 0, 0x11, 0xbe, // ASF's enterprise number
    0x80, 0x78, 0, 0, // presence ping, tag, no data
];

/// SQL Server Resolution Protocol: CLNT_UCAST_EX, all instances ([MS-SQLR], section 2.2.2).
pub(super) const SQL_BROWSER: [u8; 1] = [3];

/// KNXnet/IP: description request. Zeroes mean that the answer goes to the sender's address (ISO 22510, core services).
pub(super) const KNX: [u8; 14] = [6, 0x10, 2, 3, 0, 14, 8, 1, 0, 0, 0, 0, 0, 0];

/// WS-Discovery 1.1, section 5.2: a Probe for anything. It uses the addresses of the first version, which devices
/// support.
pub(super) const WS_DISCOVERY: &[u8] = b"<?xml version=\"1.0\" encoding=\"utf-8\"?>\
<e:Envelope xmlns:e=\"http://www.w3.org/2003/05/soap-envelope\" \
xmlns:w=\"http://schemas.xmlsoap.org/ws/2004/08/addressing\" \
xmlns:d=\"http://schemas.xmlsoap.org/ws/2005/04/discovery\"><e:Header>\
<w:MessageID>uuid:7864706d-6170-4000-8000-70726f626531</w:MessageID>\
<w:To>urn:schemas-xmlsoap-org:ws:2005:04:discovery</w:To>\
<w:Action>http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe</w:Action>\
</e:Header><e:Body><d:Probe/></e:Body></e:Envelope>";

/// NAT-PMP: the external address (RFC 6886, section 3.2).
pub(super) const NAT_PMP: [u8; 2] = [0, 0];

/// CoAP: GET /.well-known/core, confirmable, without token (RFC 7252, section 3; RFC 6690, section 4).
pub(super) const COAP: [u8; 21] = join(&[&[0x40, 1, 0x78, 0x64], b"\xbb.well-known", b"\x04core"]);

/// EtherNet/IP: ListIdentity, an encapsulation header alone (ODVA, CIP volume 2, section 2-4.2).
pub(super) const ETHERNET_IP: [u8; 24] = join(&[&[0x63, 0], &[0; 22]]);

/// BACnet/IP: ReadProperty of the object identifier of device 4194303, which means any device (ASHRAE 135, section
/// 15.5, annex J; unconfigured devices' number: section 12.11).
pub(super) const BACNET: [u8; 17] = [
    0x81, 0x0a, 0, 17, // BVLL: unicast, length
    1, 4, // NPDU: version 1, an answer is expected
    0, 5, 1, 12, // confirmed request, up to 1476 bytes, invoke id 1, ReadProperty
    0x0c, 0x02, 0x3f, 0xff, 0xff, // device 4194303
    0x19, 75, // object-identifier
];
