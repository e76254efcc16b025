// SPDX-License-Identifier: MIT

internal import Platform

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// A TCP socket whose every wait ends at a deadline; closed with its last reference.
final class Socket: Sendable {
    let descriptor: Int32

    private init(_ descriptor: Int32) { self.descriptor = descriptor }

    deinit { close(descriptor) }

    #if canImport(Glibc)
    private static let stream = Int32(SOCK_STREAM.rawValue)
    #else
    private static let stream = SOCK_STREAM
    #endif

    /// Calls `body` with each address of a host until it returns something.
    ///
    /// - Throws: `unavailable` if the host's name says nothing to the system.
    private static func resolve<Result>(
        _ place: HostPort, passive: Bool, _ body: (addrinfo) -> Result?
    ) throws(FathomError) -> Result? {
        var hints = addrinfo()
        hints.ai_socktype = stream
        hints.ai_flags = passive ? AI_PASSIVE : 0
        var list: UnsafeMutablePointer<addrinfo>?
        // Listening for other machines takes every address that this one has.
        let status = getaddrinfo(passive && !place.isLoopback ? nil : place.host, "\(place.port)", &hints, &list)
        guard status == 0 else {
            // SAFETY: gai_strerror returns a constant string.
            throw FathomError(
                .unavailable, "the host of \(place) is not known: \(String(cString: gai_strerror(status)))")
        }
        defer { freeaddrinfo(list) }
        // SAFETY: the system's list lives until it is freed.
        var next = list
        while let entry = next {
            if let result = body(entry.pointee) { return result }
            next = entry.pointee.ai_next
        }
        return nil
    }

    private static func make(_ address: addrinfo) -> Socket? {
        let descriptor = socket(address.ai_family, address.ai_socktype, address.ai_protocol)
        guard descriptor >= 0 else { return nil }
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
        return Socket(descriptor)
    }

    private func set(_ option: Int32) {
        var one: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, option, &one, socklen_t(MemoryLayout<Int32>.size))
    }

    /// Binds to a place without listening there.
    ///
    /// - Parameter shared: whether another process of this user may have bound it too and may yet.
    /// - Throws: `unavailable` if the place is taken.
    static func bind(_ place: HostPort, shared: Bool) throws(FathomError) -> Socket {
        var reason = "it has no address"
        let found = try resolve(place, passive: true) { address -> Socket? in
            guard let made = make(address) else { return nil }
            made.set(SO_REUSEADDR)
            if shared { made.set(SO_REUSEPORT) }
            if Self.systemBind(made.descriptor, address.ai_addr, address.ai_addrlen) == 0 { return made }
            reason = systemErrorText()
            return nil
        }
        guard let found else { throw cannotListen(port: place.port, reason) }
        return found
    }

    private static func cannotListen(port: Int, _ reason: String) -> FathomError {
        FathomError(
            .unavailable, "cannot listen on port \(port): \(reason); FATHOM_RENDEZVOUS=HOST:PORT chooses another")
    }

    #if canImport(Glibc)
    private static let systemBind = Glibc.bind
    private static let systemConnect = Glibc.connect
    #else
    private static let systemBind = Musl.bind
    private static let systemConnect = Musl.connect
    #endif

    /// Listens, with room for `backlog` connections that nobody has accepted yet.
    ///
    /// - Throws: `unavailable` if another socket that was bound to the place at the same time listens there already.
    func listen(backlog: Int) throws(FathomError) {
        #if canImport(Glibc)
        let status = Glibc.listen(descriptor, Int32(backlog))
        #else
        let status = Musl.listen(descriptor, Int32(backlog))
        #endif
        if status != 0 {
            let reason = systemErrorText()
            throw Self.cannotListen(port: port, reason)
        }
    }

    /// The port that the system chose for a socket bound to port 0.
    var port: Int {
        var storage = sockaddr_storage()
        var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
        return withUnsafeMutableBytes(of: &storage) { bytes in
            // SAFETY: the storage has room for every kind of address; port numbers of IPv4 and IPv6 lie at offset 2.
            guard let address = bytes.baseAddress?.assumingMemoryBound(to: sockaddr.self),
                getsockname(descriptor, address, &size) == 0
            else { return 0 }
            return Int(bytes[2]) << 8 | Int(bytes[3])
        }
    }

    /// A connection that came; nil if none waits.
    func accept() -> Socket? {
        #if canImport(Glibc)
        let other = Glibc.accept(descriptor, nil, nil)
        #else
        let other = Musl.accept(descriptor, nil, nil)
        #endif
        guard other >= 0 else { return nil }
        _ = fcntl(other, F_SETFD, FD_CLOEXEC)
        _ = fcntl(other, F_SETFL, O_NONBLOCK)
        return Socket(other)
    }

    /// Connects; nil if nobody listens there now, or the time is over.
    static func connect(to place: HostPort, deadline: ContinuousClock.Instant) throws(FathomError) -> Socket? {
        try resolve(place, passive: false) { address -> Socket? in
            guard let made = make(address) else { return nil }
            if Self.systemConnect(made.descriptor, address.ai_addr, address.ai_addrlen) == 0 { return made }
            guard errno == EINPROGRESS, made.wait(for: Int16(POLLOUT), deadline: deadline) else { return nil }
            var problem: Int32 = 0
            var size = socklen_t(MemoryLayout<Int32>.size)
            getsockopt(made.descriptor, SOL_SOCKET, SO_ERROR, &problem, &size)
            return problem == 0 ? made : nil
        }
    }

    /// Whether the socket is ready before the deadline.
    func wait(for events: Int16, deadline: ContinuousClock.Instant) -> Bool {
        var request = pollfd(fd: descriptor, events: events, revents: 0)
        while true {
            let status = poll(&request, 1, Self.milliseconds(until: deadline))
            if status > 0 { return true }
            if status == 0 || errno != EINTR { return false }
        }
    }

    /// How long `poll` may take.
    static func milliseconds(until deadline: ContinuousClock.Instant) -> Int32 {
        let left = deadline - ContinuousClock.now
        return Int32(max(0, min(60_000, (left / .milliseconds(1)).rounded(.up))))
    }

    /// Writes all bytes; false if the other end is gone or the time over.
    func send(_ bytes: [UInt8], deadline: ContinuousClock.Instant) -> Bool {
        var sent = 0
        while sent < bytes.count {
            // SAFETY: the rest of the array, which lives during the call.
            let count = bytes[sent...].withUnsafeBytes { Self.systemSend(descriptor, $0) }
            if count > 0 {
                sent += count
            } else if errno == EAGAIN || errno == EINTR {
                guard wait(for: Int16(POLLOUT), deadline: deadline) else { return false }
            } else {
                return false
            }
        }
        return true
    }

    private static func systemSend(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) -> Int {
        #if canImport(Glibc)
        Glibc.send(descriptor, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
        #else
        Musl.send(descriptor, bytes.baseAddress, bytes.count, MSG_NOSIGNAL)
        #endif
    }

    /// What has come, at most 64 KiB; empty if nothing has, nil if nothing will.
    func receive() -> [UInt8]? {
        var isOpen = true
        let bytes = [UInt8](unsafeUninitializedCapacity: 65_536) { buffer, count in
            // SAFETY: the system writes at most the buffer's size.
            let received = recv(descriptor, buffer.baseAddress, buffer.count, 0)
            isOpen = received > 0 || received < 0 && (errno == EAGAIN || errno == EINTR)
            count = max(0, received)
        }
        return isOpen ? bytes : nil
    }
}
