// SPDX-License-Identifier: MIT

/// What a run did with its devices. Times are nanoseconds; those of places count from the span's start.
///
/// Communication is told from computation by kernel names. Hidden is the time in which a communication kernel and
/// anything else run: |comm ∩ comp|; exposed is |comm| − |comm ∩ comp|, of unions, so nothing counts twice.
public struct ProfileReport: Sendable, Encodable {
    /// Work on one stream.
    public struct StreamUse: Sendable, Encodable {
        public var title: String
        public var kernelCount: Int
        public var copyCount: Int
        public var busy: Int64
        public var idle: Int64
        /// Busy with communication.
        public var communication: Int64
        /// Busy while another stream is, too.
        public var shared: Int64
    }

    /// Kernels that count together.
    public struct Group: Sendable, Encodable {
        public var name: String
        public var kernelClass: String
        public var isCommunication: Bool
        public var count: Int
        public var total: Int64
        public var shortest: Int64
        public var longest: Int64
        /// Part of the computation's, or the communication's, summed time.
        public var fraction: Double
        public var mean: Double { count == 0 ? 0 : Double(total) / Double(count) }
    }

    /// Communication that nothing hides.
    public struct Exposure: Sendable, Encodable {
        /// From the span's start.
        public var start: Int64
        public var duration: Int64
        /// The communication kernel.
        public var kernel: String
        /// What computed last before, and first after.
        public var before: String
        public var after: String
    }

    /// Communication as a whole.
    public struct Communication: Sendable, Encodable {
        public var total: Int64
        public var hidden: Int64
        public var exposed: Int64
        /// Hidden, of all; 1 without communication.
        public var hiddenFraction: Double
        /// Kernels that only exchange counts and wait.
        public var notify: Int64
        /// Longest first.
        public var gaps: [Exposure]
    }

    public var name: String
    public var devices: [String]
    public var rank: Int?
    public var worldSize: Int?
    public var eventCount: Int
    public var byteCount: Int
    public var span: Int64
    /// Something runs.
    public var active: Int64
    /// Something that is no communication runs.
    public var computing: Int64
    public var computeIdle: Int64
    /// How much of the computing runs beside communication.
    public var computeCovered: Int64
    public var streams: [StreamUse]
    public var communication: Communication
    /// Communication first, then computation, each by time.
    public var classes: [Group]
    /// By time.
    public var kernels: [Group]
    /// The schedule by annotations; empty without.
    public var phases: PhaseSchedule?
    /// Kernels of low-latency transports, which are launched twice: to send, and to wait.
    public var sendWaitPairs: [SendWaitPair]
}

extension ProfileReport {
    /// The report of a trace.
    public init(_ trace: Trace) {
        let operations = trace.operations
        let span = trace.span
        let communication = TimeRanges(operations.lazy.filter(\.kernelClass.isCommunication).map(\.range))
        let computation = TimeRanges(operations.lazy.filter { !$0.kernelClass.isCommunication }.map(\.range))
        let hidden = communication.intersection(computation)
        name = trace.header.traceName ?? ""
        devices = trace.header.devices
        (rank, worldSize) = (trace.header.rank, trace.header.worldSize)
        (eventCount, byteCount) = (trace.eventCount, trace.byteCount)
        self.span = span.upperBound - span.lowerBound
        active = TimeRanges(operations.lazy.map(\.range)).total
        computing = computation.total
        computeIdle = self.span - computing
        computeCovered = hidden.total
        streams = Self.streams(trace)
        let exposed = communication.subtracting(computation)
        self.communication = Communication(
            total: communication.total, hidden: hidden.total, exposed: exposed.total,
            hiddenFraction: communication.total == 0 ? 1 : Double(hidden.total) / Double(communication.total),
            notify: TimeRanges(operations.lazy.filter { $0.kernelClass == .notify }.map(\.range)).total,
            gaps: Self.gaps(exposed, trace))
        classes = Self.classes(trace)
        kernels = Self.kernels(trace)
        phases = PhaseSchedule(trace)
        sendWaitPairs = SendWaitPair.pairs(trace)
    }

    private static func streams(_ trace: Trace) -> [StreamUse] {
        var lanes = [[Trace.Operation]](repeating: [], count: trace.streams.count)
        for operation in trace.operations { lanes[Int(operation.stream)].append(operation) }
        let busy = lanes.map { TimeRanges($0.lazy.map(\.range)) }
        let length = trace.span.upperBound - trace.span.lowerBound
        return trace.streams.indices.map { index in
            let others = TimeRanges(busy.indices.filter { $0 != index }.flatMap { busy[$0].ranges })
            let talk = lanes[index].lazy.filter(\.kernelClass.isCommunication).map(\.range)
            return StreamUse(
                title: trace.streams[index].title, kernelCount: lanes[index].count(where: \.isKernel),
                copyCount: lanes[index].count { !$0.isKernel }, busy: busy[index].total,
                idle: length - busy[index].total, communication: TimeRanges(talk).total,
                shared: busy[index].intersection(others).total)
        }
    }

    private static func gaps(_ exposed: TimeRanges, _ trace: Trace) -> [Exposure] {
        let compute = trace.operations.filter { !$0.kernelClass.isCommunication }
        let talk = trace.operations.filter(\.kernelClass.isCommunication)
        let byEnd = compute.sorted { $0.end < $1.end }
        func short(_ operation: Trace.Operation?) -> String {
            operation.map { KernelName(trace.names[$0.name]).short } ?? ""
        }
        let gaps = exposed.ranges.map { range in
            let last = byEnd.prefix(upTo: byEnd.firstIndexSorted { $0.end > range.lowerBound }).last
            let following = compute.firstIndexSorted { $0.start >= range.upperBound }
            let kernel = talk.last { $0.start <= range.lowerBound && $0.end > range.lowerBound }
            return Exposure(
                start: range.lowerBound - trace.span.lowerBound, duration: range.upperBound - range.lowerBound,
                kernel: short(kernel), before: short(last),
                after: short(following < compute.count ? compute[following] : nil))
        }
        return gaps.sorted { ($0.duration, $1.start) > ($1.duration, $0.start) }
    }
}

extension Array {
    /// The first index whose element satisfies `predicate`, which holds for all later ones too; `count` if none does.
    func firstIndexSorted(where predicate: (Element) -> Bool) -> Int {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if predicate(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
