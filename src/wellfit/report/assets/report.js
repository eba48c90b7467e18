(function () {
  "use strict";

  // Columns and grids become the rows that Vega-Lite reads; the file stays half as large without repeated names.
  function rows(data) {
    if (data && data.columns) {
      var names = Object.keys(data.columns);
      var length = names.length ? data.columns[names[0]].length : 0;
      return {values: Array.from({length: length}, function (_, i) {
        var row = {};
        names.forEach(function (name) { row[name] = data.columns[name][i]; });
        return row;
      })};
    }
    if (data && data.grid) {
      var g = data.grid, out = [];
      g.z.forEach(function (line, i) {
        line.forEach(function (z, j) {
          if (z === null) { return; }
          var p = g.p ? g.p[i][j] : null;
          var name = g.names && g.names[z] !== undefined ? g.names[z] : String(z);
          out.push({x: g.x[j], x2: g.x[j + 1], y: g.y[i], y2: g.y[i + 1], z: z, p: p, name: name,
                    sure: p === null ? "" : Math.round(100 * p) + "%"});
        });
      });
      return {values: out};
    }
    return data;
  }

  function expand(spec) {
    if (spec.data) { spec.data = rows(spec.data); }
    (spec.layer || []).forEach(expand);
    return spec;
  }

  var font = getComputedStyle(document.body).fontFamily;

  function config(width) {
    var labels = Math.max(90, Math.min(250, width * 0.34));
    return {
      background: "transparent", font: font, view: {stroke: null}, padding: {left: 2, right: 4, top: 6, bottom: 2},
      axis: {labelColor: "var(--muted)", titleColor: "var(--muted)", gridColor: "var(--line)", domainColor: "var(--axis)",
             tickColor: "var(--axis)", labelFontSize: 11.5, titleFontSize: 12, titleFontWeight: 400, titlePadding: 8,
             labelPadding: 5, tickSize: 4},
      axisX: {labelFlush: true, labelOverlap: "greedy"},
      axisY: {domain: false, ticks: false, labelLimit: labels},
      legend: {labelColor: "var(--muted)", titleColor: "var(--muted)", labelFontSize: 11.5}
    };
  }

  // No chart may ever load anything.
  function refuse() { return Promise.reject(new Error("A report loads nothing.")); }
  var loader = {load: refuse, sanitize: refuse, http: refuse, file: refuse};

  function draw(plot) {
    var spec = expand(JSON.parse(plot.nextElementSibling.textContent));
    plot.dataset.narrow = String(plot.clientWidth < 480);
    return vegaEmbed(plot, spec, {
      mode: "vega-lite", renderer: "svg", actions: false, ast: true, loader: loader, config: config(plot.clientWidth),
      defaultStyle: false, tooltip: {disableDefaultStyle: true}
    }).then(function () { plot.dataset.drawn = "true"; }).catch(function (error) {
      plot.classList.add("failed");
      plot.textContent = "This chart could not be drawn. Its numbers are in the table below.";
      console.error(error);
    });
  }

  var plots = Array.from(document.querySelectorAll(".plot[data-chart]"));
  plots.forEach(draw);

  // Vega follows the width by itself; only the room for labels changes between a narrow and a wide chart.
  var waiting = 0;
  window.addEventListener("resize", function () {
    clearTimeout(waiting);
    waiting = setTimeout(function () {
      plots.forEach(function (plot) {
        if (plot.dataset.narrow !== String(plot.clientWidth < 480)) { draw(plot); }
      });
    }, 200);
  });

  function selectText(node) {
    var range = document.createRange();
    range.selectNodeContents(node);
    var selection = window.getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
  }

  document.querySelectorAll("button[data-copy]").forEach(function (button) {
    button.addEventListener("click", function () {
      var code = document.getElementById(button.dataset.copy);
      var said = function (text) {
        button.textContent = text;
        setTimeout(function () { button.textContent = "Copy"; }, 1600);
      };
      var byHand = function () {
        selectText(code);
        said(document.execCommand("copy") ? "Copied" : "Press Ctrl+C");
      };
      if (navigator.clipboard && window.isSecureContext) {
        navigator.clipboard.writeText(code.textContent).then(function () { said("Copied"); }, byHand);
      } else {
        byHand();
      }
    });
  });

  // The table of contents marks the section in view.
  var links = {};
  document.querySelectorAll(".contents a").forEach(function (a) { links[a.getAttribute("href").slice(1)] = a; });
  if ("IntersectionObserver" in window) {
    var observer = new IntersectionObserver(function (entries) {
      entries.forEach(function (entry) {
        var link = links[entry.target.id];
        if (!link || !entry.isIntersecting) { return; }
        Object.keys(links).forEach(function (id) { links[id].removeAttribute("aria-current"); });
        link.setAttribute("aria-current", "true");
      });
    }, {rootMargin: "-10% 0px -75% 0px"});
    document.querySelectorAll("main > header, main > section").forEach(function (s) { observer.observe(s); });
  }
}());
