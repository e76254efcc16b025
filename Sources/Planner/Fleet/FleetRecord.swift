// SPDX-License-Identifier: MIT

/// What a simulation writes down as it goes; times before the window do not count.
struct FleetRecord: Sendable {
    /// What was asked for in a window between two scalings.
    struct Window: Sendable {
        var turns = 0.0
        var computed = 0.0
        var cached = 0.0
        var output = 0.0
    }

    private let seconds: Double
    private let design: FleetDesign
    private(set) var window = Window()
    private(set) var totals = TokenTotals(input: 0, hits: 0, output: 0)
    private var steps: [NodeSchedule.Step] = []
    private var phases = (prefill: 0, decode: 0, since: 0.0)
    private var nodeSeconds = (prefill: 0.0, decode: 0.0)
    private var quarters: [FleetDay.Quarter]
    /// Seconds in which GPUs of prefill worked, times nodes; tokens of passes, and what the fullest GPUs would hold.
    private var passSeconds = 0.0
    private var passTokens = 0.0
    private var fullestPassTokens = 0.0
    /// Sums over requests and steps: seconds, and tokens.
    private var answerSeconds = 0.0
    private var answerTokens = 0.0
    private var cachedTokens = 0.0
    private var meanTokens = 0.0
    private var fullestTokens = 0.0
    private var firstToken: [Int]
    private var imbalance = (prefill: 0.0, decode: 0.0, count: 0.0)
    private(set) var answered = 0
    var refused = 0

    /// Classes of times to the first token: sixteen to a doubling, from a millisecond on, by the bits of a float.
    private static let classes = 512
    private static let classShift: UInt32 = 19

    private static func timeClass(_ seconds: Double) -> Int {
        let bits = Float(max(seconds * 1000, 1)).bitPattern - Float(1).bitPattern
        return min(Int(bits >> classShift), classes - 1)
    }

    /// Seconds at the end of a class.
    private static func end(ofClass index: Int) -> Double {
        Double(Float(bitPattern: UInt32(index + 1) << classShift + Float(1).bitPattern)) / 1000
    }

    init(design: FleetDesign, seconds: Double) {
        self.design = design
        self.seconds = seconds
        let count = max(1, Int((seconds / FleetDay.quarterSeconds).rounded(.up)))
        quarters = (0..<count).map { FleetDay.Quarter(start: Double($0) * FleetDay.quarterSeconds) }
        firstToken = Array(repeating: 0, count: Self.classes)
    }

    /// The largest cache of a GPU over the mean, in the steps so far.
    var spread: Double { meanTokens > 0 ? fullestTokens / meanTokens : 1 }

    private func quarter(_ time: Double) -> Int { min(Int(time / FleetDay.quarterSeconds), quarters.count - 1) }

    mutating func asked(_ turn: Turn, at time: Double) {
        window.turns += 1
        window.computed += Double(turn.prompt - turn.cached)
        window.cached += Double(turn.cached)
        window.output += Double(turn.output)
        if time >= 0 { quarters[quarter(time)].askedOutput += Double(turn.output) }
    }

    mutating func computed(_ queued: QueuedTurn, at time: Double) {
        guard time >= 0 else { return }
        let turn = queued.turn
        totals.input += Double(turn.prompt)
        totals.hits += Double(turn.cached)
        let index = quarter(time)
        quarters[index].tokens += TokenTotals(input: Double(turn.prompt), hits: Double(turn.cached), output: 0)
        let wait = time - (Double(queued.arrival) / 1000 - FleetSimulation.warmUp)
        quarters[index].firstTokenSeconds += wait
        quarters[index].firstTokens += 1
        firstToken[Self.timeClass(wait)] += 1
    }

    mutating func pass(_ length: Double, tokens: Int, fullest: Int, ranks: Int, at time: Double) {
        guard time >= 0 else { return }
        passSeconds += length
        passTokens += Double(tokens)
        fullestPassTokens += Double(fullest * ranks)
        quarters[quarter(time)].prefillBusy += length
    }

    /// A step yields tokens for `requests` requests.
    mutating func step(requests: Int, eighths: Int, mean: Double, fullest: Double, at time: Double) {
        guard time >= 0 else { return }
        let tokens = Double(requests) * design.decode.yield
        totals.output += tokens
        answerTokens += tokens
        cachedTokens += Double(eighths) / 8 * design.decode.yield
        meanTokens += mean
        fullestTokens += fullest
        quarters[quarter(time)].tokens.output += tokens
    }

    mutating func stepTime(_ length: Double, requests: Int, at time: Double) {
        guard time >= 0 else { return }
        answerSeconds += length * Double(requests)
        let index = quarter(time)
        quarters[index].requestSeconds += length * Double(requests)
        quarters[index].decodeBusy += length
    }

    mutating func finished(at time: Double) { if time >= 0 { answered += 1 } }

    mutating func placed(_ found: [Double], at time: Double) {
        guard time >= 0 else { return }
        imbalance = (imbalance.prefill + found[0], imbalance.decode + found[1], imbalance.count + 1)
    }

    mutating func nodes(_ count: Int, at time: Double) {
        let time = max(0, time)
        if steps.last?.start == time { steps.removeLast() }
        if steps.last?.nodes != count { steps.append(.init(start: time, nodes: count)) }
    }

    mutating func phaseNodes(prefill: Int, decode: Int, at time: Double) {
        let time = min(max(0, time), seconds)
        nodeSeconds.prefill += Double(phases.prefill) * (time - phases.since)
        nodeSeconds.decode += Double(phases.decode) * (time - phases.since)
        phases = (prefill, decode, time)
    }

    mutating func closeWindow(at time: Double, capacity: (prefill: Double, decode: Double)) {
        if time > 0 {
            let index = quarter(time - 1)
            quarters[index].prefillCapacity = capacity.prefill
            quarters[index].decodeCapacity = capacity.decode
        }
        window = Window()
    }

    /// The whole window.
    mutating func day(fleet: FleetSimulation) -> FleetDay {
        phaseNodes(prefill: phases.prefill, decode: phases.decode, at: seconds)
        let schedule = NodeSchedule(
            steps: steps.isEmpty ? [.init(start: 0, nodes: 0)] : steps, seconds: seconds)
        for index in quarters.indices {
            quarters[index].nodes = schedule.mean(
                from: quarters[index].start, to: min(seconds, quarters[index].start + FleetDay.quarterSeconds))
        }
        let placements = max(1, imbalance.count)
        return FleetDay(
            tokens: totals, nodes: schedule, prefillNodes: nodeSeconds.prefill / seconds,
            decodeNodes: nodeSeconds.decode / seconds, answers: answered, refused: refused,
            answerSpeed: answerSeconds > 0 ? answerTokens / answerSeconds : 0,
            meanCachedTokens: answerTokens > 0 ? cachedTokens / answerTokens : 0,
            firstTokenSeconds: [0.5, 0.9, 0.99].map(percentile), cacheSpread: spread,
            passSpread: passTokens > 0 ? fullestPassTokens / passTokens : 1,
            expertImbalance: [imbalance.prefill / placements, imbalance.decode / placements], quarters: quarters,
            dollarsPerHour: schedule.mean * Double(design.hardware.gpusPerNode) * design.hardware.dollarsPerHour)
    }

    /// The time to the first token that a part of the turns stays below.
    private func percentile(_ part: Double) -> Double {
        let wanted = part * Double(firstToken.reduce(0, +))
        var sum = 0
        for (index, count) in firstToken.enumerated() {
            sum += count
            if Double(sum) >= wanted { return Self.end(ofClass: index) }
        }
        return .infinity
    }
}
