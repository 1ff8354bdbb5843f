import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { exec } from '../system/exec.ts';
import { parseIptablesSave, printRuleset } from './iptables-save.ts';
import { formatPosition } from './result.ts';
import { withoutSources } from './testing.ts';

/** Every kind of match and target in the spellings that people and tools use. */
const rules4 = [
  '*filter',
  ':INPUT ACCEPT [0:0]',
  ':FORWARD ACCEPT [0:0]',
  ':OUTPUT ACCEPT [0:0]',
  ':KUBE-X - [0:0]',
  '-A INPUT ! -p gre -f -j DROP',
  '-A INPUT ! -i cali+ ! -s 10.1.2.3/255.255.0.0 -j KUBE-X',
  '-A INPUT -p udp -m udp ! --sport 1000:2000 --dport 53 -g KUBE-X',
  '-A INPUT -p tcp -m multiport --ports 80,443,8000:8010 -j ACCEPT',
  '-A INPUT -p tcp -m multiport ! --sports 80 -j ACCEPT',
  '-A INPUT -p sctp -m sctp --dport 80 -j ACCEPT',
  '-A INPUT -p sctp -m multiport --dports 80,90 -j ACCEPT',
  '-A INPUT -p udplite -m multiport --dports 80 -j ACCEPT',
  '-A INPUT -p dccp -m dccp --dport 80 -j ACCEPT',
  '-A INPUT -p icmp -m icmp ! --icmp-type 3/4 -j ACCEPT',
  '-A INPUT -p icmp -m icmp --icmp-type any -j ACCEPT',
  '-A INPUT -p tcp -m tcp ! --tcp-flags ALL NONE -j ACCEPT',
  '-A INPUT -p tcp -m tcp --tcp-flags ALL FIN,PSH,URG -j ACCEPT',
  '-A INPUT -m conntrack ! --ctstate RELATED,DNAT -j ACCEPT',
  '-A INPUT -m state --state NEW -j ACCEPT',
  '-A INPUT -m conntrack --ctstate NEW --ctproto 6 --ctorigdst 10.0.0.1 --ctorigdstport 80 -j ACCEPT',
  '-A INPUT -m conntrack --ctstatus ASSURED -j ACCEPT',
  '-A INPUT -m mark ! --mark 1 -m connmark --mark 0x80/0x80 -j ACCEPT',
  '-A INPUT -m set ! --match-set S src -j ACCEPT',
  '-A INPUT -m addrtype ! --src-type LOCAL --dst-type LOCAL,BROADCAST -j ACCEPT',
  '-A INPUT -m addrtype --dst-type LOCAL --limit-iface-in -j ACCEPT',
  '-A INPUT -m conntrack ! --ctreplsrc 10.0.0.0/8 ! --ctorigsrcport 1:9 --ctdir REPLY -j ACCEPT',
  '-A INPUT -m conntrack --ctstatus NONE --ctexpire 1:2 -j ACCEPT',
  '-A INPUT -m set --match-set N src --return-nomatch -j ACCEPT',
  '-A INPUT -m ttl ! --ttl-eq 64 -m ttl --ttl-lt 3 -m ttl --ttl-gt 1 -j ACCEPT',
  '-A INPUT -m tos --tos Minimize-Delay -m tos ! --tos 0x4/0xfc -j ACCEPT',
  '-A INPUT -m dscp --dscp-class EF -m dscp ! --dscp 4 -j ACCEPT',
  '-A INPUT -m statistic --mode random ! --probability 0.33333333349 -j ACCEPT',
  '-A INPUT -m statistic --mode nth ! --every 3 --packet 1 -j ACCEPT',
  '-A FORWARD -m physdev ! --physdev-in v0 --physdev-is-bridged -j ACCEPT',
  '-A FORWARD -m physdev ! --physdev-is-in --physdev-out v+ -j ACCEPT',
  '-A INPUT -m iprange ! --src-range 10.0.0.1-10.0.0.9 --dst-range 10.0.0.1-10.0.0.1 -j ACCEPT',
  '-A INPUT -m length ! --length 1400: -j ACCEPT',
  '-A INPUT -m length --length 28 -j ACCEPT',
  '-A INPUT -m limit --limit 5/min --limit-burst 3 -j LOG --log-prefix "[a \\"b\\"] " --log-level 4',
  '-A INPUT -m recent --set --name x --rsource',
  '-A INPUT -m comment --comment "it\'s \\"x\\" \\\\ y" -m comment --comment --z',
  '-A OUTPUT -m owner ! --uid-owner 0-99 -j ACCEPT',
  '-A INPUT -m mac --mac-source 02:00:00:00:00:01 -j ACCEPT',
  '-A INPUT -m pkttype --pkt-type multicast -j ACCEPT',
  '-A INPUT -j NFLOG --nflog-prefix "a b" --nflog-group 1',
  '-A INPUT -j NFQUEUE --queue-num 0 --queue-bypass',
  '-A INPUT -p tcp -j REJECT --reject-with tcp-reset',
  '-A INPUT -m time --timestart 01:00:00 --timestop 02:00:00 -j ACCEPT',
  '-A INPUT -m connlimit --connlimit-above 5 --connlimit-mask 32 --connlimit-saddr -j ACCEPT',
  '-A INPUT -m u32 ! --u32 "0>>22&0x3c@0>>16&0xffff=0x400:0x5dc,7&&6&0xff=0x6" -j ACCEPT',
  '-A INPUT -m bpf --bytecode "4,48 0 0 9,21 0 1 6,6 0 0 1,6 0 0 0" -j ACCEPT',
  '-A INPUT -m string ! --string "a b" --algo bm --from 20 --to 60 --icase -j ACCEPT',
  '-A INPUT -m string --hex-string "|0a01|x" --algo kmp -j ACCEPT',
  '-A INPUT -m socket --nowildcard --transparent -j ACCEPT',
  '-A INPUT -m cgroup ! --cgroup 7 -j ACCEPT',
  '-A INPUT -m helper ! --helper ftp -j ACCEPT',
  '-A INPUT -m ecn ! --ecn-ip-ect 2 -j ACCEPT',
  '-A INPUT -p tcp -m ecn ! --ecn-tcp-cwr -j ACCEPT',
  '-A INPUT -m connbytes ! --connbytes 10:20 --connbytes-dir reply --connbytes-mode avgpkt -j ACCEPT',
  '-A INPUT -m connbytes --connbytes 10 --connbytes-dir both --connbytes-mode bytes -j ACCEPT',
  '-A INPUT -m connlimit --connlimit-upto 5 --connlimit-mask 24 --connlimit-daddr -j ACCEPT',
  '-A FORWARD -m devgroup ! --src-group 0x1/0x3 --dst-group 2 -j ACCEPT',
  '-A INPUT -p tcp -m tcpmss ! --mss 100:1400 -j ACCEPT',
  '-A INPUT -m connlabel ! --label 3 -j ACCEPT',
  '-A INPUT -m policy --dir in --pol ipsec --strict --proto esp --mode tunnel --tunnel-src 10.0.0.1 --tunnel-dst 10.0.0.2 -j ACCEPT',
  '-A INPUT -m policy --dir in --pol none -j ACCEPT',
  '-A INPUT -p esp -m esp ! --espspi 5:9 -j ACCEPT',
  '-A INPUT -p ah -m ah --ahspi 5 -j ACCEPT',
  '-A INPUT -m realm ! --realm 0x1/0x3 -j ACCEPT',
  '-A INPUT -m cpu ! --cpu 1 -j ACCEPT',
  '-A INPUT -m quota --quota 1000 -j ACCEPT',
  '-A INPUT -m cluster --cluster-total-nodes 4 --cluster-local-node 2 --cluster-hash-seed 0x7 -j ACCEPT',
  'COMMIT',
  '*mangle',
  '-A PREROUTING -j MARK --set-mark 0x3/0x1',
  '-A PREROUTING -j MARK --and-mark 0xffff',
  '-A PREROUTING -j MARK --or-mark 0x8000',
  '-A PREROUTING -j MARK --xor-mark 0x1',
  '-A PREROUTING -j CONNMARK --set-xmark 0x80/0x80',
  '-A PREROUTING -j CONNMARK --save-mark --nfmask 0x80 --ctmask 0xff',
  '-A PREROUTING -j CONNMARK --restore-mark',
  '-A PREROUTING -p tcp -j TPROXY --on-port 1 --on-ip 127.0.0.1 --tproxy-mark 0x1/0x1',
  '-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 1300',
  '-A PREROUTING -j TTL --ttl-inc 1',
  '-A PREROUTING -j DSCP --set-dscp-class AF41',
  '-A PREROUTING -j TOS --and-tos 0xfc',
  '-A PREROUTING -j TOS --set-tos 0x10/0x1c',
  '-A PREROUTING -j SET --add-set S src',
  '-A PREROUTING -j SET --add-set S src --exist --timeout 5',
  '-A PREROUTING -j SET --del-set S dst',
  '-A PREROUTING -j SET --map-set S dst --map-mark',
  '-A PREROUTING -p udp -j TPROXY --on-port 0 --tproxy-mark 0x1',
  '-A FORWARD -j CLASSIFY --set-class 0001:0002',
  '-A FORWARD -p tcp -j ECN --ecn-tcp-remove',
  '-A FORWARD -j TEE --gateway 10.0.0.1',
  '-A FORWARD -p udp -j CHECKSUM --checksum-fill',
  '-A FORWARD -p tcp -j TCPOPTSTRIP --strip-options 3,8',
  '-A FORWARD -j IDLETIMER --timeout 5 --label x',
  '-A FORWARD -j HMARK --hmark-tuple src,dst --hmark-mod 7 --hmark-rnd 0x5',
  '-A FORWARD -j AUDIT --type accept',
  'COMMIT',
  '*nat',
  '-A PREROUTING -p tcp -j DNAT --to-destination 10.0.0.1-10.0.0.3:80-90 --random --persistent',
  '-A PREROUTING -p tcp -j DNAT --to-destination :80',
  '-A PREROUTING -j DNAT --to-destination 10.0.0.1',
  '-A POSTROUTING -p tcp -j SNAT --to-source 10.0.0.1-10.0.0.3:1024-2000 --random-fully',
  '-A POSTROUTING -p tcp -j MASQUERADE --to-ports 1024-2000 --random-fully',
  '-A PREROUTING -p tcp -j REDIRECT --to-ports 1-5',
  '-A PREROUTING -j REDIRECT',
  '-A PREROUTING -d 10.1.0.0/16 -j NETMAP --to 10.2.0.0/16',
  'COMMIT',
  '*raw',
  '-A PREROUTING -j NOTRACK',
  '-A PREROUTING -j CT --notrack',
  '-A PREROUTING -m rpfilter --validmark --invert -j DROP',
  '-A PREROUTING -j CT --zone 5',
  '-A PREROUTING -j CT --zone-orig mark',
  '-A PREROUTING -j CT --zone-reply 7 --ctevents new,destroy',
  '-A PREROUTING -j CT --ctevents new',
  '-A PREROUTING -j TRACE',
  'COMMIT',
];

const rules6 = [
  '*filter',
  ':INPUT ACCEPT [0:0]',
  '-A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type 135 -j ACCEPT',
  '-A INPUT -p ipv6-icmp -m icmp6 ! --icmpv6-type 1/4 -j ACCEPT',
  '-A INPUT -s fe80::/10 ! -d ::1 -j REJECT --reject-with icmp6-adm-prohibited',
  '-A INPUT -m iprange --src-range fd00::1-fd00::9 -j REJECT',
  '-A INPUT -m ipv6header --soft ! --header hop-by-hop,protocol -j ACCEPT',
  '-A INPUT -m frag ! --fragid 1:5 --fragfirst -j ACCEPT',
  '-A INPUT -m rt ! --rt-type 0 --rt-segsleft 1:2 -j ACCEPT',
  '-A INPUT -m hbh --hbh-len 8 -j ACCEPT',
  '-A INPUT -m dst --dst-len 8 -j ACCEPT',
  '-A INPUT -p ipv6-mh -m mh --mh-type 1:3 -j ACCEPT',
  '-A INPUT -m hl ! --hl-eq 64 -m ah --ahspi 5 -j ACCEPT',
  '-A INPUT -m eui64 -j ACCEPT',
  'COMMIT',
  '*nat',
  '-A PREROUTING -p tcp -j DNAT --to-destination [fd00::1]:80',
  '-A PREROUTING -p tcp -j DNAT --to-destination [fd00::1-fd00::3]:80-90',
  '-A PREROUTING -p tcp -j DNAT --to-destination :80',
  '-A POSTROUTING -j SNAT --to-source fd00::1-fd00::4',
  '-A POSTROUTING -j SNAT --to-source fd00::1',
  'COMMIT',
];

const canRun = process.getuid?.() === 0 && existsSync('/usr/sbin/iptables-nft-restore');
if (!canRun) console.log('iptables-kernel.test.ts: skipped: needs root and iptables-nft-restore');

function read(text: string, family: 4 | 6) {
  const result = parseIptablesSave(text, { file: 'f', family, backend: 'nft' });
  if (!result.ok) throw new Error(formatPosition(result.error));
  return result.value;
}

describe.skipIf(!canRun)('what the kernel makes of a printed rule set', () => {
  it.each([
    ['iptables-nft', 4, rules4],
    ['iptables-legacy', 4, rules4],
    ['ip6tables-nft', 6, rules6],
    ['ip6tables-legacy', 6, rules6],
  ] as const)('%s: the same as of the original', async (tool, family, lines) => {
    const netns = `pp-parse-${tool}-${process.pid}`;
    const inside = (...argv: string[]) => ['ip', 'netns', 'exec', netns, ...argv];
    expect(await exec(['ip', 'netns', 'add', netns])).toMatchObject({ code: 0 });
    try {
      await exec(inside('ipset', 'create', 'S', 'hash:ip'));
      await exec(inside('ipset', 'create', 'N', 'hash:net'));
      const load = async (text: string) => {
        const restored = await exec(inside(`${tool}-restore`), { input: text });
        if (restored.code !== 0) return { error: restored.stderr };
        const saved = await exec(inside(`${tool}-save`));
        return { rules: withoutSources(read(saved.stdout, family)) };
      };
      const original = `${lines.join('\n')}\n`;
      const expected = await load(original);
      if ('error' in expected) {
        console.log(
          `iptables-kernel.test.ts: ${tool} skipped: this kernel does not take the rules: ${expected.error}`,
        );
        return;
      }
      expect(await load(printRuleset(read(original, family)))).toEqual(expected);
      const count = expected.rules.flatMap(({ chains }) => chains.flatMap(({ rules }) => rules)).length;
      expect(count).toBe(lines.filter((line) => line.startsWith('-A')).length);
    } finally {
      await exec(['ip', 'netns', 'del', netns]);
    }
  });
});
