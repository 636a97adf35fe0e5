"""The networks on a graphics card, which the processor stands for here, in minutes, draw the same."""

import base64
import shutil

import pytest
from web_helpers import PATIENCE, Host

from facemend.server.app import STATIC

pytestmark = [pytest.mark.browser, pytest.mark.long, pytest.mark.timeout(1500)]
SOFTWARE = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan"]
RUN = """async (text) => {
  const { FaceRestorer } = await import("/facemend-web/predictors/restorer.js");
  const { fetchForGpu, openNets, openOnGpu } = await import("/facemend-web/runtime/onnx.js");
  const base = new URL("/facemend-web/models/", location.href).href;
  if (!(await navigator.gpu?.requestAdapter())) return null;
  const fetched = await fetchForGpu(base);
  const { nets, side } = await openNets(base);
  const { readPhoto } = await import("/facemend-web/imaging/reading.js");
  const { shrink } = await import("/facemend-web/imaging/resize.js");
  const bytes = Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
  const crop = shrink((await readPhoto(new Blob([bytes]), 1e8)).pixels, side, side);
  let failures = 0;
  const spare = { run: () => { failures += 1; throw new Error("not asked for"); } };
  const on = [nets, await openOnGpu(base, fetched, { encode: spare, decode: spare })];
  const drawn = [];
  for (const each of on) {
    const network = new FaceRestorer(each, side);
    drawn.push(await network.decode(await network.encode(crop), 0.5));
  }
  const error = drawn[0].data.reduce((sum, value, at) => sum + (value - drawn[1].data[at]) ** 2, 0);
  return [failures, -10 * Math.log10(error / drawn[0].data.length)];
}"""


def test_a_graphics_card_draws_the_same(browser, site):
    started = browser.browser_type.launch(executable_path=shutil.which("chromium"), args=SOFTWARE)
    host = Host(site)
    page = started.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(f"{host.address}facemend-web/package.json")
    text = base64.b64encode((STATIC / "example.jpg").read_bytes()).decode()
    told = page.evaluate(RUN, text)
    started.close()
    host.close()
    if told is None:
        # Builds of Chromium differ in that; the page goes on with the processor there.
        pytest.skip("this Chromium has no WebGPU in software")
    failures, decibels = told
    assert failures == 0
    assert decibels > 40
