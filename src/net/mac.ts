/** Ethernet addresses as lower-case `aa:bb:cc:dd:ee:ff` text: the form that iproute2 prints. */

export function parseMac(text: string): string | undefined {
  return /^([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}$/.test(text) ? text.toLowerCase() : undefined;
}

/** The group bit: broadcast and multicast frames go to every port. */
export const isMulticastMac = (mac: string): boolean => (Number.parseInt(mac.slice(0, 2), 16) & 1) === 1;
