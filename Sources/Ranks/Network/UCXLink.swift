// SPDX-License-Identifier: MIT

#if UCX
internal import CUCX
internal import Platform
internal import Synchronization

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

// SAFETY: In this file all of UCX's objects are used under one lock, as its serialized mode asks for, and are released
// in the order in which they depend on each other. What comes is written inside registered memory only.

/// Writes to other ranks' memory through UCX: RDMA networks or TCP, as `UCX_TLS` and UCX's other variables choose.
///
/// A write is an active message whose handler copies it to where it belongs. UCX's own one-sided writes end the process
/// when a peer dies over TCP (1.13), and need a round trip to be ordered; messages arrive in order.
final class UCXLink: NetworkLink, @unchecked Sendable {
    /// How long one operation may take before the peer counts as lost, as long as it lives.
    private let limit: Duration
    /// How long the peer may show no life meanwhile.
    private let hangLimit: Duration
    /// Between two looks when nothing is said to have come.
    private static let idleMilliseconds: Int32 = 10
    /// Longer writes go in pieces, which bounds what a receiver must hold.
    private static let maximumMessage = 1 << 20
    /// How long a rank that leaves waits for the others to have taken everything.
    private static let farewellLimit = Duration.seconds(1)

    /// What a message asks for.
    private enum Kind: UInt32 {
        case put, set, add
        /// Nothing more comes, and the answer to that.
        case farewell, farewellTaken
    }

    /// Goes before each message's bytes.
    private struct Header {
        var kind: UInt32
        var source: UInt32
        var memory: UInt64
        var offset: UInt64
    }

    private struct State {
        var context: ucp_context_h?
        var worker: ucp_worker_h?
        var endpoints: [ucp_ep_h?] = []
        var losses: [String?] = []
        var expelled: Set<Int> = []
        var hasTakenAll: [Bool] = []
        var memories: [SharedSegment] = []
        var isOpen = true
    }

    /// What UCX hands back when an endpoint fails.
    private final class Peer: Sendable {
        let rank: Int
        /// Outlives this and may be on its way out, when endpoints close.
        unowned(unsafe) let link: UCXLink

        init(_ rank: Int, _ link: UCXLink) {
            self.rank = rank
            self.link = link
        }
    }

    private var rank = 0
    private var peers: [Peer] = []
    private let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    /// What `announce` sends, which must stay after the call.
    private let announcement = UnsafeMutablePointer<(header: Header, value: UInt64)>.allocate(capacity: 1)
    /// What answers to farewells begin with, which must stay after the call.
    private let farewellHeader = UnsafeMutablePointer<Header>.allocate(capacity: 1)
    private var state = State()
    private var heartbeat: @Sendable (Int) -> UInt64 = { _ in 0 }
    private var changed: @Sendable () -> Void = {}
    private var thread: pthread_t?
    private(set) var address: [UInt8] = []

    /// Opens UCX, with memory 0 to write to.
    init(control: SharedSegment, limits: RankGroup.Limits) throws(FathomError) {
        limit = .milliseconds(limits.timeoutMilliseconds)
        hangLimit = .milliseconds(limits.hangMilliseconds)
        pthread_mutex_init(lock, nil)
        state.memories = [control]
        var parameters = ucp_params_t()
        parameters.field_mask = UInt64(UCP_PARAM_FIELD_FEATURES.rawValue)
        parameters.features = UInt64(UCP_FEATURE_AM.rawValue | UCP_FEATURE_WAKEUP.rawValue)
        try Self.check(ucp_init(&parameters, nil, &state.context), "UCX does not start")
        var options = ucp_worker_params_t()
        options.field_mask = UInt64(UCP_WORKER_PARAM_FIELD_THREAD_MODE.rawValue)
        options.thread_mode = UCS_THREAD_MODE_SERIALIZED
        try Self.check(ucp_worker_create(state.context, &options, &state.worker), "UCX has no worker")
        try setHandler()
        var own: OpaquePointer?
        var count = 0
        try Self.check(ucp_worker_get_address(state.worker, &own, &count), "UCX has no address")
        address = Array(UnsafeRawBufferPointer(start: UnsafeRawPointer(own), count: count))
        ucp_worker_release_address(state.worker, own)
    }

    deinit {
        disconnect()
        pthread_mutex_destroy(lock)
        lock.deallocate()
        announcement.deallocate()
        farewellHeader.deallocate()
    }

    private static func check(_ status: ucs_status_t, _ what: String) throws(FathomError) {
        guard status == UCS_OK else { throw FathomError(.unavailable, "\(what): \(text(status))") }
    }

    private static func text(_ status: ucs_status_t) -> String { String(cString: ucs_status_string(status)) }

    private func locked<Result, Failure: Error>(_ body: () throws(Failure) -> Result) throws(Failure) -> Result {
        pthread_mutex_lock(lock)
        defer { pthread_mutex_unlock(lock) }
        return try body()
    }

    // MARK: Connecting

    func connect(
        _ addresses: [[UInt8]], rank: Int, heartbeat: @escaping @Sendable (Int) -> UInt64,
        changed: @escaping @Sendable () -> Void
    ) throws(FathomError) {
        try locked { () throws(FathomError) in
            self.rank = rank
            self.changed = changed
            self.heartbeat = heartbeat
            state.losses = Array(repeating: nil, count: addresses.count)
            state.hasTakenAll = Array(repeating: false, count: addresses.count)
            for (other, bytes) in addresses.enumerated() {
                state.endpoints.append(other == rank ? nil : try endpoint(to: other, bytes))
            }
        }
        try startThread()
    }

    private func endpoint(to other: Int, _ worker: [UInt8]) throws(FathomError) -> ucp_ep_h? {
        var endpoint: ucp_ep_h?
        let peer = Peer(other, self)
        peers.append(peer)
        let status = worker.withUnsafeBytes { bytes in
            var parameters = ucp_ep_params_t()
            parameters.field_mask = UInt64(
                UCP_EP_PARAM_FIELD_REMOTE_ADDRESS.rawValue | UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE.rawValue)
            parameters.address = bytes.baseAddress.map { OpaquePointer($0) }
            parameters.err_mode = UCP_ERR_HANDLING_MODE_PEER
            parameters.field_mask |= UInt64(UCP_EP_PARAM_FIELD_ERR_HANDLER.rawValue)
            parameters.err_handler.arg = Unmanaged.passUnretained(peer).toOpaque()
            // Called while UCX is driven, under the lock.
            parameters.err_handler.cb = { raw, _, status in
                guard let raw else { return }
                let peer = Unmanaged<Peer>.fromOpaque(raw).takeUnretainedValue()
                peer.link.lose(peer.rank, UCXLink.text(status))
            }
            return ucp_ep_create(state.worker, &parameters, &endpoint)
        }
        try Self.check(status, "rank \(other) cannot be reached through UCX")
        return endpoint
    }

    // MARK: What comes

    private func setHandler() throws(FathomError) {
        var parameters = ucp_am_handler_param_t()
        parameters.field_mask = UInt64(
            UCP_AM_HANDLER_PARAM_FIELD_ID.rawValue | UCP_AM_HANDLER_PARAM_FIELD_FLAGS.rawValue
                | UCP_AM_HANDLER_PARAM_FIELD_CB.rawValue | UCP_AM_HANDLER_PARAM_FIELD_ARG.rawValue)
        parameters.id = 0
        parameters.flags = UInt32(UCP_AM_FLAG_WHOLE_MSG.rawValue)
        parameters.arg = Unmanaged.passUnretained(self).toOpaque()
        // Called while UCX is driven, under the lock.
        parameters.cb = { link, header, headerCount, data, count, _ in
            guard let link, let header, headerCount == MemoryLayout<Header>.size else { return UCS_OK }
            Unmanaged<UCXLink>.fromOpaque(link).takeUnretainedValue()
                .take(header.loadUnaligned(as: Header.self), UnsafeRawBufferPointer(start: data, count: count))
            return UCS_OK
        }
        try Self.check(ucp_worker_set_am_recv_handler(state.worker, &parameters), "UCX takes no messages")
    }

    private func take(_ header: Header, _ bytes: UnsafeRawBufferPointer) {
        let source = Int(header.source)
        guard let kind = Kind(rawValue: header.kind), state.endpoints.indices.contains(source),
            !state.expelled.contains(source)
        else { return }
        switch kind {
        case .farewell: send(.farewellTaken, to: source, waits: false)
        case .farewellTaken: state.hasTakenAll[source] = true
        case .put, .set, .add:
            guard header.memory < UInt64(state.memories.count) else { return }
            let memory = state.memories[Int(header.memory)]
            guard header.offset <= UInt64(memory.byteCount), bytes.count <= memory.byteCount - Int(header.offset),
                let start = bytes.baseAddress
            else { return }
            let target = memory.baseAddress + Int(header.offset)
            guard kind != .put else { return target.copyMemory(from: start, byteCount: bytes.count) }
            guard bytes.count == 8, header.offset % 8 == 0 else { return }
            let word = target.assumingMemoryBound(to: Atomic<UInt64>.self)
            let value = bytes.loadUnaligned(as: UInt64.self)
            if kind == .set {
                word.pointee.store(value, ordering: .releasing)
            } else {
                word.pointee.wrappingAdd(value, ordering: .acquiringAndReleasing)
            }
        }
    }

    func register(_ segment: SharedSegment) -> Int {
        locked {
            state.memories.append(segment)
            return state.memories.count - 1
        }
    }

    // MARK: Writing

    func put(_ bytes: UnsafeRawBufferPointer, to rank: Int, memory: Int, at offset: Int) {
        var first = 0
        while first < bytes.count {
            let count = min(Self.maximumMessage, bytes.count - first)
            locked {
                send(
                    .put, to: rank, memory, offset + first,
                    UnsafeRawBufferPointer(rebasing: bytes[first..<first + count]), waits: true)
            }
            first += count
        }
    }

    func set(_ value: UInt64, to rank: Int, memory: Int, at offset: Int) {
        locked { withUnsafeBytes(of: value) { send(.set, to: rank, memory, offset, $0, waits: true) } }
    }

    func add(_ value: UInt64, to rank: Int, memory: Int, at offset: Int) {
        locked { withUnsafeBytes(of: value) { send(.add, to: rank, memory, offset, $0, waits: true) } }
    }

    func announce(_ value: UInt64, memory: Int, at offset: Int) {
        locked {
            announcement.pointee = (
                Header(
                    kind: Kind.set.rawValue, source: UInt32(rank), memory: UInt64(memory), offset: UInt64(offset)),
                value
            )
            for other in state.endpoints.indices {
                guard let endpoint = target(other) else { continue }
                var parameters = Self.eager
                let header = UnsafeRawPointer(announcement)
                let request = ucp_am_send_nbx(
                    endpoint, 0, header, MemoryLayout<Header>.size, header + MemoryLayout<Header>.size, 8, &parameters)
                if let request, !Self.isError(request) { ucp_request_free(request) }
            }
        }
    }

    /// Messages go at once rather than when the receiver asks for them: so they stay in order.
    private static var eager: ucp_request_param_t {
        var parameters = ucp_request_param_t()
        parameters.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS.rawValue
        parameters.flags = UInt32(UCP_AM_SEND_FLAG_EAGER.rawValue)
        return parameters
    }

    private static func isError(_ request: ucs_status_ptr_t) -> Bool {
        (-100 ... -1).contains(Int(bitPattern: request))
    }

    /// Sends a message.
    ///
    /// - Parameter waits: until UCX has taken everything; a message of no bytes need not.
    private func send(
        _ kind: Kind, to other: Int, _ memory: Int = 0, _ offset: Int = 0,
        _ bytes: UnsafeRawBufferPointer = UnsafeRawBufferPointer(start: nil, count: 0), waits: Bool
    ) {
        guard let endpoint = target(other) else { return }
        let header = Header(
            kind: kind.rawValue, source: UInt32(rank), memory: UInt64(memory), offset: UInt64(offset))
        guard waits else {
            farewellHeader.pointee = header
            var parameters = Self.eager
            let request = ucp_am_send_nbx(
                endpoint, 0, farewellHeader, MemoryLayout<Header>.size, nil, 0, &parameters)
            if let request, !Self.isError(request) { ucp_request_free(request) }
            return
        }
        withUnsafeBytes(of: header) { header in
            var parameters = Self.eager
            finish(
                ucp_am_send_nbx(
                    endpoint, 0, header.baseAddress, header.count, bytes.baseAddress, bytes.count, &parameters), other)
        }
    }

    private func target(_ other: Int) -> ucp_ep_h? {
        guard state.isOpen, state.endpoints.indices.contains(other), state.losses[other] == nil else { return nil }
        return state.endpoints[other]
    }

    /// Drives UCX until a request has ended; a failure or a wait beyond the limit loses the rank.
    private func finish(_ request: ucs_status_ptr_t?, _ rank: Int) {
        guard let request else { return }
        if Self.isError(request) {
            lose(rank, Self.text(ucs_status_t(rawValue: Int8(truncatingIfNeeded: Int(bitPattern: request)))))
            return
        }
        let start = ContinuousClock.now
        var (beat, heard) = (heartbeat(rank), start)
        var status = ucp_request_check_status(request)
        while status == UCS_INPROGRESS {
            if !progress() {
                // Others, the heartbeat above all, get on meanwhile.
                pthread_mutex_unlock(lock)
                sched_yield()
                pthread_mutex_lock(lock)
            }
            status = ucp_request_check_status(request)
            guard status == UCS_INPROGRESS else { break }
            let now = ContinuousClock.now
            if heartbeat(rank) != beat { (beat, heard) = (heartbeat(rank), now) }
            if now - heard > hangLimit {
                state.losses[rank] = "hangs (it has taken nothing and shown no life for \(hangLimit))"
                break
            }
            if now - start > limit {
                state.losses[rank] = "has taken nothing from the network for \(limit)"
                break
            }
        }
        if status != UCS_OK, status != UCS_INPROGRESS {
            lose(rank, Self.text(status))
        }
        ucp_request_free(request)
    }

    private func lose(_ rank: Int, _ reason: String) {
        if state.losses[rank] == nil { state.losses[rank] = "is lost to the network: \(reason)" }
        changed()
    }

    /// Takes what has come; whether that was anything.
    @discardableResult private func progress() -> Bool {
        guard ucp_worker_progress(state.worker) > 0 else { return false }
        while ucp_worker_progress(state.worker) > 0 {}
        changed()
        return true
    }

    func expel(_ rank: Int) {
        locked {
            guard state.losses.indices.contains(rank) else { return }
            state.expelled.insert(rank)
            state.losses[rank] = state.losses[rank] ?? "was expelled"
        }
    }

    func loss(of rank: Int) -> String? { locked { state.losses.indices.contains(rank) ? state.losses[rank] : nil } }

    // MARK: The thread that takes what comes

    private func startThread() throws(FathomError) {
        var id = pthread_t()
        // The thread ends before this object does: `disconnect` waits for it.
        let argument = Unmanaged.passUnretained(self)
        let status = pthread_create(
            &id, nil,
            { raw in
                if let raw { Unmanaged<UCXLink>.fromOpaque(raw).takeUnretainedValue().serve() }
                return nil
            }, argument.toOpaque())
        guard status == 0 else {
            throw FathomError(.unavailable, "cannot start the network's thread: \(systemErrorText(status))")
        }
        thread = id
    }

    private func serve() {
        var descriptor: Int32 = -1
        locked { _ = ucp_worker_get_efd(state.worker, &descriptor) }
        while true {
            let (isOpen, maySleep) = locked {
                guard state.isOpen else { return (false, false) }
                return (true, !progress() && ucp_worker_arm(state.worker) == UCS_OK)
            }
            guard isOpen else { return }
            guard maySleep else { continue }
            var request = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            poll(&request, 1, Self.idleMilliseconds)
        }
    }

    func disconnect() {
        let mayLeave = locked {
            guard state.isOpen else { return false }
            farewell()
            state.isOpen = false
            return true
        }
        guard mayLeave else { return }
        if let thread { pthread_join(thread, nil) }
        thread = nil
        for case let endpoint? in state.endpoints {
            var parameters = ucp_request_param_t()
            parameters.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS.rawValue
            parameters.flags = UInt32(UCP_EP_CLOSE_FLAG_FORCE.rawValue)
            if let request = ucp_ep_close_nbx(endpoint, &parameters), !Self.isError(request) {
                while ucp_request_check_status(request) == UCS_INPROGRESS { ucp_worker_progress(state.worker) }
                ucp_request_free(request)
            }
        }
        if let worker = state.worker { ucp_worker_destroy(worker) }
        if let context = state.context { ucp_cleanup(context) }
        state.memories = []
    }

    /// Waits until the others have taken all that was sent: closing may throw away what is still on its way.
    private func farewell() {
        for other in state.endpoints.indices { send(.farewell, to: other, waits: true) }
        let deadline = ContinuousClock.now + Self.farewellLimit
        while ContinuousClock.now < deadline,
            state.endpoints.indices.contains(where: { target($0) != nil && !state.hasTakenAll[$0] })
        {
            if !progress() {
                pthread_mutex_unlock(lock)
                sched_yield()
                pthread_mutex_lock(lock)
            }
        }
    }
}
#endif
