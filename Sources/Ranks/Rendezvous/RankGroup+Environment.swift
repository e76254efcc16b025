// SPDX-License-Identifier: MIT

public import Platform

extension RankGroup {
    /// Joins the group that a launcher's variables describe: meets the others at rank 0 over TCP, then shares memory
    /// with them, or, where they are on several machines, connects to them through UCX (package trait `UCX`).
    ///
    /// - Throws: `unavailable` naming the ranks that did not come within the limit, the rank that came twice or thinks
    ///   of another group, or those that cannot be reached.
    public static func join(
        _ environment: RankEnvironment, limits: Limits = Limits()
    ) throws(FathomError) -> RankGroup {
        let topology = environment.topology
        let host = try GroupHost(topology)
        guard topology.rankCount > 1 else { return try host.group(limits: limits) }
        let link = try host.link(environment, limits: limits)
        let own = RendezvousHello(
            rank: environment.rank, topology: topology, job: environment.job, machine: MachineIdentity.name,
            address: link?.address ?? [])
        let (text, machines, addresses) = try meet(environment, own, host, limits)
        guard text == networkText || Set(machines).count > 1 else {
            link?.disconnect()
            if environment.rank == 0 { return try host.group(limits: limits) }
            return try join(try GroupAddress(text: text), rank: environment.rank, limits: limits)
        }
        try checkAddresses(addresses, machines, environment)
        guard let link else {
            throw FathomError(
                .unavailable,
                "rank \(environment.rank) has no network; FATHOM_TRANSPORT=memory keeps it from having one")
        }
        return try host.group(rank: environment.rank, limits: limits, link: link, addresses: addresses)
    }

    /// What rank 0 says instead of an address where memory is not to be shared.
    private static let networkText = "network"

    /// Waits until all ranks have come: what rank 0 says, and each rank's machine and address.
    private static func meet(
        _ environment: RankEnvironment, _ own: RendezvousHello, _ host: GroupHost, _ limits: Limits
    ) throws(FathomError) -> (text: String, machines: [String], addresses: [[UInt8]]) {
        let deadline = ContinuousClock.now + .milliseconds(limits.timeoutMilliseconds)
        guard environment.rank == 0 else {
            let reply = try RendezvousGuest.greet(own, at: environment.rendezvous, deadline: deadline)
            guard case .welcome(let text, let machines, let addresses) = reply else {
                throw FathomError(.internal, "an answer of rank 0 that is no welcome")
            }
            return (text, machines, addresses)
        }
        let text = environment.transport == .network ? networkText : host.address.text
        let table = RendezvousTable(topology: environment.topology, own: own, groupText: text)
        var rendezvous = try RendezvousHost(
            at: environment.rendezvous, sharesPort: environment.launcher == .fathom, table: table,
            rankCount: environment.topology.rankCount, deadline: deadline)
        let all = try rendezvous.run()
        return (text, all.map(\.machine), all.map(\.address))
    }

    /// - Throws: `unavailable` naming the ranks that no network reaches.
    private static func checkAddresses(
        _ addresses: [[UInt8]], _ machines: [String], _ environment: RankEnvironment
    ) throws(FathomError) {
        let silent = addresses.indices.filter { addresses[$0].isEmpty }
        guard silent.isEmpty else {
            let names = silent.map(String.init).joined(separator: ", ")
            throw FathomError(
                .unavailable,
                "\(addresses.count) ranks on \(Set(machines).count) machines need a network, and rank \(names) has "
                    + "none: Fathom must be built with the package trait UCX, and FATHOM_TRANSPORT not be memory")
        }
    }
}

extension GroupHost {
    /// A link for this rank, where it may be needed and Fathom was built with one.
    fileprivate func link(
        _ environment: RankEnvironment, limits: RankGroup.Limits
    ) throws(FathomError) -> (any NetworkLink)? {
        #if UCX
        let mayNeed = environment.transport == .network || environment.topology.nodeCount > 1
        guard mayNeed, environment.transport != .memory else { return nil }
        return try UCXLink(
            control: segment, limits: limits)
        #else
        return nil
        #endif
    }

    /// Becomes rank `rank` of a group whose ranks reach each other through links, and waits for the others.
    fileprivate func group(
        rank: Int, limits: RankGroup.Limits, link: any NetworkLink, addresses: [[UInt8]]
    ) throws(FathomError) -> RankGroup {
        segment.closeDescriptor()
        let group = try RankGroup(
            rank: rank, topology: address.topology, segment: segment, limits: limits, link: link, addresses: addresses)
        try group.awaitOthers()
        return group
    }
}
