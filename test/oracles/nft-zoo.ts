/**
 * One of everything that nft can say: rules one by one, because a kernel or nft without some feature refuses that line
 * alone. Lines that begin with a tab stand in the chain above them.
 */
export const zoo = `table inet zoo {
	comment "a zoo"
	counter c1 { packets 3 bytes 4 ; }
	counter c2 { comment "named" ; packets 3 bytes 4 ; }
	quota q1 { over 25 mbytes used 10 bytes ; }
	limit l1 { rate 400/minute burst 5 packets ; }
	limit l2 { rate over 1 mbytes/second burst 512 kbytes ; }
	ct helper h1 { type "ftp" protocol tcp; l3proto ip; }
	ct timeout t1 { protocol tcp; l3proto ip; policy = { established: 120, close: 20 } ; }
	synproxy sp1 { mss 1460; wscale 7; timestamp sack-perm ; }
	flowtable f1 { hook ingress priority filter; devices = { lo } ; }
	set s1 { type ipv4_addr; flags interval; auto-merge; elements = { 10.0.0.0/8, 192.168.0.1-192.168.0.9 comment "odd one" } ; }
	set s2 { typeof ip saddr . tcp dport; size 65535; flags dynamic,timeout; timeout 1m30s; counter; elements = { 10.0.0.1 . 80 counter packets 1 bytes 2 timeout 30s expires 10s } ; }
	set s3 { type ifname; flags interval; elements = { "eth*", "lo", "5" } ; }
	set s4 { type ipv4_addr . inet_service . ifname; flags constant,interval; elements = { 10.0.0.0/8 . 80-90 . "lo", 1.2.3.4 . 53 . "e*" } ; }
	set s5 { type mark; elements = { 0x1, 0x40 } ; }
	set s6 { type ether_addr; elements = { aa:bb:cc:dd:ee:ff } ; }
	set s7 { type ipv6_addr; flags interval; elements = { fe80::/10, 2001:db8::1-2001:db8::ff } ; }
	set s8 { type inet_proto . icmp_type; elements = { icmp . echo-request } ; }
	set s9 { type ipv4_addr; comment "has a comment"; }
	set s10 { typeof ip saddr; flags dynamic,timeout; timeout 10s; }
	map m1 { type ipv4_addr . inet_proto . inet_service : verdict; comment "svc"; elements = { 10.0.0.1 . tcp . 80 comment "ns/svc:p" : goto user-1/x, 10.0.0.1 . udp . 53 : drop } ; }
	map m2 { typeof ip saddr : meta mark; elements = { 10.0.0.1 : 0x5, * : 0x7 } ; }
	map m3 { type inet_service : ipv4_addr . inet_service; flags interval; elements = { 80-90 : 10.0.0.1 . 8080 } ; }
	map m4 { type ipv4_addr : interval ipv4_addr; elements = { 10.0.0.1 : 10.1.0.1-10.1.0.9 } ; }
	map m5 { type inet_service : counter; elements = { 80 : "c1" } ; }
	map m6 { type ipv4_addr : classid; }
	chain user-1/x {
		counter name "c1"
	}
	chain in {
		type filter hook input priority filter - 5; policy drop;
		ct state established,related accept
		ct state { established, related } counter packets 0 bytes 0 accept comment "hi # there"
		ct state vmap { established : accept, related : jump user-1/x, invalid : drop }
		ct state != new drop
		ct state new,untracked counter
		ct status dnat,snat accept
		ct status & (dnat|snat) != 0 accept
		ct status & dnat == 0 accept
		ct direction original ct mark 0x5 accept
		ct mark & 0xff == 0x1 accept
		ct original ip saddr 10.0.0.1 accept
		ct reply ip6 daddr fe80::1 accept
		meta l4proto tcp ct original proto-dst 80 accept
		ct protocol tcp accept
		ct zone 1 accept
		ct original zone 3 accept
		ct expiration 30s accept
		ct id 5 accept
		ct label 3 accept
		ct l3proto ipv4 accept
		ct helper "ftp" accept
		ct bytes > 100000 accept
		ct reply packets < 5 accept
		ct avgpkt > 200 accept
		ct count over 5 drop
		meta mark set ct mark
		ct mark set meta mark
		meta mark set meta mark & 0xffffff00 | 0x1
		meta mark set meta mark ^ 0x1
		meta mark set meta mark << 4
		meta mark set 0x10 meta priority set 1:2 meta nftrace set 1
		meta mark and 0xf == 0x3 accept
		meta l4proto { tcp, udp } th dport { 53, 80-90, 1000-2000 } accept
		meta nfproto ipv4 accept
		meta protocol ip6 accept
		meta iif "lo" oif "lo" accept
		iifname "eth*" oifname != { "a", "b*" } accept
		iifname "eth\\\\*" accept
		iifname "5" accept
		meta iifgroup default accept
		meta iifgroup 7 accept
		meta iiftype loopback accept
		meta skuid 1000 accept
		meta skgid { 0, 10-20 } accept
		meta cgroup 5 accept
		meta length 40-100 accept
		meta pkttype { broadcast, multicast } accept
		meta rtclassid 5 accept
		meta cpu 1 accept
		meta time > "2022-01-01 10:00:00" accept
		meta day "Monday" accept
		meta hour "10:00"-"12:00" accept
		meta ipsec exists accept
		meta sdif 0 accept
		meta iifkind "vlan" accept
		ip saddr 10.0.0.0/8 ip daddr != 1.2.3.4-1.2.3.9 accept
		ip saddr & 255.255.0.255 == 10.0.0.1 accept
		ip saddr . ip daddr . tcp dport { 10.0.0.1 . 10.0.0.2 . 80, 10.0.0.0/8 . 1.1.1.1-1.1.1.9 . 1-9 } accept
		ip dscp cs1 ip ecn ce accept
		ip ttl < 5 ip length 100 ip id 5 accept
		ip frag-off & 0x1fff != 0 accept
		ip protocol { tcp, 99 } accept
		ip version 4 ip hdrlength 5 ip checksum 5 accept
		ip dscp { cs0, ef, 0x3 } accept
		ip6 saddr ::1 ip6 nexthdr tcp ip6 hoplimit 4 ip6 flowlabel 5 ip6 dscp af11 ip6 length 60 ip6 version 6 accept
		ip6 saddr fd00::/8 ip6 daddr { fe80::/10, ::ffff:1.2.3.4 } accept
		ip6 saddr & ffff:: == fd00:: accept
		tcp flags & (fin|syn|rst|ack) == syn accept
		tcp flags syn,ack / syn,ack,rst accept
		tcp flags & (syn|ack) != syn accept
		tcp flags syn accept
		tcp flags == syn accept
		tcp flags != syn accept
		tcp flags { syn, ack | fin } accept
		tcp flags ! ack,rst accept
		tcp sport 1-1024 tcp dport != { 22, 80 } accept
		tcp sequence 5 accept
		tcp window > 5 tcp doff 5 tcp urgptr 3 tcp checksum 4 tcp ackseq 9 accept
		udp dport vmap { 53 : accept, 80-90 : goto user-1/x, * : continue }
		udp length 8 udp checksum 3 accept
		udplite sport 4 accept
		sctp dport 5 sctp vtag 5 accept
		sctp chunk data exists accept
		sctp chunk init num-outbound-streams 4 accept
		dccp sport 5 dccp type request accept
		icmp type echo-request icmp code 0 accept
		icmp id 5 icmp sequence 6 accept
		icmp type { echo-reply, echo-request } accept
		icmp mtu 4 accept
		icmp gateway 5 accept
		icmpv6 type { nd-neighbor-solicit, nd-router-advert } accept
		icmpv6 code no-route accept
		icmpv6 mtu 5 accept
		icmpv6 id 4 accept
		meta nfproto ipv4 igmp type membership-query accept
		esp spi 5 accept
		ah spi 6 accept
		comp cpi 7 accept
		tcp option maxseg size 500-1460 accept
		tcp option sack-perm exists accept
		tcp option window count 3 accept
		tcp option timestamp tsval 1 accept
		tcp option maxseg size set rt mtu
		tcp option maxseg size set 1300
		reset tcp option fastopen
		frag more-fragments 1 accept
		rt type 0 accept
		exthdr hbh exists accept
		hbh nexthdr 6 accept
		exthdr frag missing accept
		dst nexthdr 5 accept
		mh type 1 accept
		srh tag 5 accept
		ip option lsrr exists accept
		ip option ra value 4 accept
		rt classid 5 accept
		rt mtu 1500 accept
		rt ipsec exists accept
		rt ip6 nexthop fe80::1 accept
		socket transparent 1 accept
		socket mark 0x5 accept
		socket wildcard 0 accept
		osf name "Linux" accept
		osf ttl skip version "Linux:4.20" accept
		ipsec in reqid 1 accept
		ipsec in ip saddr 10.0.0.1 accept
		ipsec out spi 5 accept
		fib saddr . iif oif missing drop
		fib saddr . mark . iif oif != 0 drop
		fib daddr type { local, broadcast } fib daddr . iif type local accept
		fib saddr oifname "lo" accept
		numgen inc mod 3 0 accept
		numgen random mod 10 offset 100 < 105 accept
		numgen inc mod 2 vmap { 0 : jump user-1/x, 1 : drop }
		jhash ip saddr . tcp dport mod 4 seed 0xdeadbeef offset 3 5 accept
		jhash ip saddr mod 4 0 accept
		symhash mod 2 offset 1 1 accept
		@nh,96,32 0x0a000001 @th,16,16 { 80, 443 } accept
		@ih,0,8 5 @ll,0,48 1 accept
		@th,0,8 & 0xf == 3 accept
		@nh,64,128 0x20010db8000000000000000000000001 accept
		ip saddr @s1 ip saddr . tcp dport @s2 iifname @s3 accept
		ip saddr . tcp dport . iifname != @s4 accept
		meta mark @s5 accept
		ether saddr @s6 accept
		ip6 saddr @s7 accept
		ip daddr . meta l4proto . th dport vmap @m1
		meta mark set ip saddr map @m2
		meta mark set tcp dport map { 80 : 0x1, 443 : 0x2 }
		add @s2 { ip saddr . tcp dport timeout 10s }
		update @s2 { ip saddr . tcp dport counter }
		update @s10 { ip saddr limit rate over 10/second burst 5 packets } drop
		add @s10 { ip saddr timeout 5s counter } accept
		delete @s2 { ip saddr . tcp dport }
		add @m2 { ip saddr : meta mark }
		counter packets 5 bytes 6 counter name "c1" quota name "q1" limit name "l1" accept
		counter name tcp dport map @m5
		quota over 5 kbytes accept
		quota 1 gbytes accept
		limit rate 5/second accept
		limit rate over 10/minute burst 3 packets drop
		limit rate 10 kbytes/hour accept
		limit rate 5 mbytes/second burst 1 kbytes accept
		log log prefix "a b: " level debug flags all accept
		log group 3 snaplen 10 queue-threshold 5 drop
		log flags tcp sequence,options flags ip options
		log level audit
		ct helper set "h1" ct timeout set "t1" ct zone set 5 ct label set 3 ct event set new,destroy
		ct mark set ct mark & 0xf | 0x10
		ip dscp set cs1 ip ttl set 5
		ip6 hoplimit set 3
		ip daddr set 10.0.0.1
		tcp dport set 80
		udp checksum set 0
		@th,16,16 set 80
		@nh,96,32 set 0x1
		queue num 3
		queue num 3-5 bypass,fanout
		queue
		synproxy mss 1460 wscale 7 timestamp sack-perm
		synproxy name "sp1"
		reject
		meta l4proto tcp reject with tcp reset
		reject with icmp type host-unreachable
		reject with icmpv6 type no-route
		reject with icmpx type admin-prohibited
		meter m_1 { ip saddr limit rate 5/second } accept
		tcp dport 22 meter m_2 size 128 { ip saddr . iif timeout 60s counter } accept
		continue
		return
		jump user-1/x
		goto user-1/x
	}
	chain fw {
		type filter hook forward priority 5; policy accept;
		flow add @f1
		ip protocol tcp flow add @f1
	}
	chain ou {
		type route hook output priority mangle;
	}
	chain raw {
		type filter hook prerouting priority raw;
		notrack
		meta l4proto tcp tproxy to :5000
		meta l4proto tcp tproxy ip to 127.0.0.1:80 accept
		meta l4proto udp tproxy ip6 to [::1]:80 accept
		meta l4proto udp tproxy ip6 to :80 accept
	}
	chain ing {
		type filter hook ingress device "lo" priority -500; policy accept;
	}
	chain pre {
		type nat hook prerouting priority dstnat; policy accept;
		dnat ip to 10.0.0.1
		meta l4proto tcp dnat ip to 10.0.0.1:80
		meta l4proto tcp dnat ip6 to [fe80::1]:80
		meta l4proto tcp dnat ip to 10.0.0.1-10.0.0.5:80-90
		dnat ip to 10.0.0.1-10.0.0.5 random,persistent
		meta l4proto tcp dnat ip to tcp dport map { 80 : 10.0.0.1 . 8080, 443 : 10.0.0.2 . 8443 }
		dnat ip to numgen inc mod 2 map { 0 : 10.0.0.1, 1 : 10.0.0.2 }
		dnat ip to jhash ip saddr mod 2 map { 0 : 10.0.0.1, 1 : 10.0.0.2 }
		meta l4proto tcp dnat ip to 10.0.0.1:tcp dport map { 80 : 8080 }
		dnat ip prefix to ip daddr map { 10.0.0.0/24 : 10.1.0.0/24 }
		dnat ip addr . port to tcp dport map @m3
		meta l4proto tcp redirect to :8080
		meta l4proto tcp redirect to :8080-8090 random
		meta l4proto tcp redirect to :tcp dport map { 80 : 8080 }
		redirect
	}
	chain post {
		type nat hook postrouting priority srcnat; policy accept;
		masquerade
		masquerade random,fully-random,persistent
		meta l4proto tcp masquerade to :1024-2048
		snat ip to 10.0.0.1 fully-random
		snat ip to 10.0.0.0/24
		snat ip prefix to ip saddr map { 10.0.0.0/24 : 10.1.0.0/24 }
		snat ip interval to ip saddr map @m4
		snat ip6 to fe80::1-fe80::9
		meta l4proto tcp snat ip to ip saddr . tcp dport map { 10.0.0.1 . 80 : 1.1.1.1 . 80 }
	}
}
table bridge br {
	chain f {
		type filter hook forward priority filter + 3; policy accept;
		ether saddr aa:bb:cc:dd:ee:ff ether daddr != 01:00:00:00:00:00/8 accept
		ether type ip accept
		vlan id 5 vlan type ip vlan pcp 3 accept
		arp operation request arp saddr ip 10.0.0.1 arp daddr ether aa:bb:cc:dd:ee:ff accept
		meta ibrname "br0" accept
		meta obrname "br0" accept
		meta ibrpvid 5 accept
		meta protocol { ip, arp, 0x88cc } accept
		ether type vlan accept
		ip saddr 10.0.0.1 ip6 nexthdr tcp reject
	}
	chain o {
		type filter hook output priority out;
		ip saddr 10.0.0.1 reject
	}
}
table netdev nd {
	chain i {
		type filter hook ingress device lo priority 0; policy accept;
		fwd to lo
		dup to lo
		fwd ip to 10.0.0.1 device lo
	}
	chain i2 {
		type filter hook ingress devices = { lo, a1 } priority 0; policy drop;
	}
	chain e {
		type filter hook egress device lo priority 0;
	}
}
table arp a {
	flags dormant
	chain i {
		type filter hook input priority 0;
		arp operation reply arp saddr ip 10.0.0.1 drop
	}
}
table ip nat {
	chain c {
		type filter hook input priority 0;
		reject
		ip saddr 10.0.0.1 reject with icmp type port-unreachable
		dup to 10.0.0.1
		dup to 10.0.0.1 device lo
	}
}
table ip6 six {
	chain p {
		type nat hook prerouting priority dstnat + 5;
		meta l4proto tcp dnat to [fe80::1]:80
		dnat to fe80::5
		meta l4proto tcp redirect to :5
	}
	chain c {
		type filter hook input priority 0;
		reject
	}
}
`;
