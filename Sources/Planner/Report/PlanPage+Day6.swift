// SPDX-License-Identifier: MIT

extension PlanPage {
    /// The page of the published day.
    ///
    /// - Parameter groups: every figure, for the tables.
    public init(_ simulation: DaySimulation, groups: [FigureGroup]) {
        let (day, design) = (simulation.day, simulation.design)
        let prices = TokenPrices.deepSeekR1
        let income = prices.income(day.tokens)
        title = "DeepSeek's published day of serving, simulated"
        subtitle =
            "V3/R1 on \(design.hardware.name.uppercased()), prefill EP\(design.prefill.ranks), decode "
            + "EP\(design.decode.ranks); 24 hours from 12:00. Published figures stand beside simulated ones; the "
            + "badge of each figure says what it rests on."
        cards = [
            (
                "average nodes", Self.places(day.nodes.mean, 2),
                "published \(Self.places(PublishedDay.averageNodes, 2)), "
                    + Self.percent(day.nodes.mean / PublishedDay.averageNodes - 1)
            ),
            (
                "cost of the day", "$\(Self.number(day.cost.rounded()))",
                "published $\(Self.number(PublishedDay.cost))"
            ),
            (
                "income at list prices", "$\(Self.number(income.rounded()))",
                "published $\(Self.number(PublishedDay.income))"
            ),
            (
                "profit margin", "\(Self.places((income / day.cost - 1) * 100, 0)) %",
                "published \(Self.places(PublishedDay.profitMargin * 100, 0)) %"
            ),
            ("speed of an answer", "\(Self.places(day.answerSpeed, 1)) tok/s", "published 20–22"),
            (
                "prompts from cache", "\(Self.places(day.tokens.hitRate * 100, 1)) %",
                "published \(Self.places(PublishedDay.hitRate * 100, 1)) %; calibrated"
            ),
        ]
        sections = [
            Self.nodes(day), Self.money(day, prices, design), Self.work(day, design), Self.speed(day),
        ]
        self.groups = groups
    }

    private static let firstHour = 12

    private static func chart(_ unit: String, _ day: FleetDay, _ series: [SVGChart.Series]) -> SVGChart {
        SVGChart(hours: day.nodes.seconds / 3600, firstHour: firstHour, unit: unit, series: series)
    }

    private static func steps(_ schedule: NodeSchedule) -> [(hour: Double, value: Double)] {
        schedule.steps.map { ($0.start / 3600, Double($0.nodes)) }
    }

    private static func nodes(_ day: FleetDay) -> Section {
        Section(
            title: "Nodes",
            note:
                "The autoscaler sees only what arrived; the published curve is for comparison and goes in nowhere but "
                + "through its largest and smallest fleet.",
            chart: chart(
                "nodes", day,
                [
                    .init(
                        name: "published", color: "grey", style: .steps, points: steps(PublishedDay.nodes)),
                    .init(name: "simulated", color: "blue", style: .steps, points: steps(day.nodes)),
                ]))
    }

    private static func money(_ day: FleetDay, _ prices: TokenPrices, _ design: FleetDesign) -> Section {
        var hourly: [(hour: Double, value: Double)] = []
        var cost: [(hour: Double, value: Double)] = []
        let perHour = Int(3600 / FleetDay.quarterSeconds)
        for hour in 0..<day.quarters.count / perHour {
            var tokens = TokenTotals(input: 0, hits: 0, output: 0)
            var nodes = 0.0
            for quarter in day.quarters[hour * perHour..<(hour + 1) * perHour] {
                tokens += quarter.tokens
                nodes += quarter.nodes / Double(perHour)
            }
            hourly.append((Double(hour), prices.income(tokens)))
            cost.append((Double(hour), nodes * Double(design.hardware.gpusPerNode) * design.hardware.dollarsPerHour))
        }
        let published = PublishedDay.hourlyIncome.enumerated().map { (Double($0.offset) + 0.5, $0.element * 1000) }
        return Section(
            title: "Income and cost of each hour",
            note: "At R1's list prices. The published income sets the demand's shape; the rent follows from the nodes.",
            chart: chart(
                "$ per hour", day,
                [
                    .init(name: "income, simulated", color: "green", style: .bars, points: hourly),
                    .init(name: "cost, simulated", color: "red", style: .bars, points: cost),
                    .init(name: "income, published", color: "grey", style: .line, points: published),
                ]))
    }

    private static func work(_ day: FleetDay, _ design: FleetDesign) -> Section {
        let scaling = design.scaling
        func share(_ quarter: FleetDay.Quarter, _ rate: Double, _ capacity: Double, _ units: Double) -> Double {
            capacity > 0 && units > 0 ? 100 * rate / FleetDay.quarterSeconds / (capacity * units) : 0
        }
        func units(_ quarter: FleetDay.Quarter) -> (prefill: Double, decode: Double) {
            let steps =
                (quarter.nodes - Double(scaling.nodes(steps: 0)))
                / Double(max(1, scaling.nodes(steps: 1) - scaling.nodes(steps: 0)))
            return (
                Double(scaling.leastPrefillUnits) + steps * Double(scaling.stepPrefillUnits),
                Double(scaling.leastDecodeUnits) + steps * Double(scaling.stepDecodeUnits)
            )
        }
        let middle = FleetDay.quarterSeconds / 7200
        let quarters = day.quarters.filter { $0.decodeCapacity > 0 && $0.prefillCapacity > 0 }
        return Section(
            title: "Use of what is there",
            note: "Tokens over what the units could do at the answer speed to keep. Decode binds; prefill has room.",
            chart: chart(
                "% of capacity", day,
                [
                    .init(
                        name: "decode", color: "violet", style: .line,
                        points: quarters.map {
                            ($0.start / 3600 + middle, share($0, $0.tokens.output, $0.decodeCapacity, units($0).decode))
                        }),
                    .init(
                        name: "prefill", color: "amber", style: .line,
                        points: quarters.map {
                            (
                                $0.start / 3600 + middle,
                                share($0, $0.tokens.misses, $0.prefillCapacity, units($0).prefill)
                            )
                        }),
                ]))
    }

    private static func speed(_ day: FleetDay) -> Section {
        let middle = FleetDay.quarterSeconds / 7200
        return Section(
            title: "What a user sees",
            note: "Tokens per second of an answer, and seconds to its first token (queue and prefill).",
            chart: chart(
                "tokens/s, s", day,
                [
                    .init(
                        name: "answer speed, tokens/s", color: "blue", style: .line,
                        points: day.quarters.filter { $0.requestSeconds > 0 }.map {
                            ($0.start / 3600 + middle, $0.tokens.output / $0.requestSeconds)
                        }),
                    .init(
                        name: "first token, s", color: "amber", style: .line,
                        points: day.quarters.filter { $0.firstTokens > 0 }.map {
                            ($0.start / 3600 + middle, $0.firstTokenSeconds / $0.firstTokens)
                        }),
                ]))
    }
}
