// SPDX-License-Identifier: BSD-2-Clause
// Drives every call of the fake with npm's newest `stripe`, and reads the answers through the library.
//
//     node drive.mjs LIBRARY FAKE_URL SECRET_KEY WEBHOOK_SECRET
//
// The fake has the prices price_pro and price_max. It exits with 0 if everything was as the library's types say.
import assert from 'node:assert/strict';
import http from 'node:http';

const [library, base, key, webhookSecret] = process.argv.slice(2);
const { default: Stripe } = await import(library);
const { hostname, port } = new URL(base);
const options = { host: hostname, port, protocol: 'http', maxNetworkRetries: 0, timeout: 10000 };
const stripe = new Stripe(key, options);
const done = 'https://example.com/done';

// What tests can change in the fake, and a browser's part.
async function control(method, path, fields = {}) {
	const answer = await fetch(`${base}/_control${path}`, { method, body: JSON.stringify(fields) });
	assert.equal(answer.status, 200, path);
	return answer.json();
}
const now = async () => Math.floor((await (await fetch(`${base}/_control`)).json()).now);

async function fails(kind, fields, call) {
	await assert.rejects(call, (error) => {
		assert.ok(error instanceof Stripe.errors[kind], `${error.constructor.name} instead of ${kind}: ${error.message}`);
		for (const [name, value] of Object.entries(fields)) assert.equal(error[name], value, name);
		return true;
	});
}

// A webhook endpoint, so that the library verifies and reads what the fake sends.
const received = [];
const server = http.createServer(async (request, response) => {
	let body = '';
	for await (const part of request) body += part;
	received.push([body, request.headers['stripe-signature']]);
	response.end();
});
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const hook = `http://127.0.0.1:${server.address().port}/hook`;

async function catalog() {
	const product = await stripe.products.create({ name: 'Pro', unit_label: 'request' });
	assert.equal((await stripe.products.update(product.id, { description: 'All' })).description, 'All');
	assert.equal((await stripe.products.retrieve(product.id)).name, 'Pro');
	const price = await stripe.prices.create({
		product: product.id, currency: 'usd', billing_scheme: 'tiered', tiers_mode: 'graduated',
		recurring: { interval: 'month' }, tiers: [{ up_to: 10, unit_amount: 5 }, { up_to: 'inf', unit_amount: 1 }],
	});
	await stripe.prices.update(price.id, { lookup_key: 'steps' });
	assert.equal((await stripe.prices.retrieve(price.id, { expand: ['tiers'] })).tiers.length, 2);
	assert.equal((await stripe.prices.list({ lookup_keys: ['steps'] })).data[0].id, price.id);
	// The library reads decimals into its own class.
	assert.equal(String((await stripe.prices.retrieve('price_pro')).unit_amount_decimal), '2000');
	const feature = await stripe.entitlements.features.create({ lookup_key: 'export', name: 'Export' });
	await stripe.products.createFeature(product.id, { entitlement_feature: feature.id });
	assert.equal((await stripe.products.listFeatures(product.id)).data[0].entitlement_feature.lookup_key, 'export');
	assert.equal((await stripe.entitlements.features.retrieve(feature.id)).name, 'Export');
	assert.equal((await stripe.entitlements.features.list()).data.length, 1);
	assert.ok((await stripe.products.list()).data.length >= 2);
}

async function customersAndDiscounts() {
	const customer = await stripe.customers.create({ email: 'ada@example.com', metadata: { user: '7' } });
	await stripe.customers.update(customer.id, { name: 'Ada' });
	assert.equal((await stripe.customers.retrieve(customer.id)).name, 'Ada');
	const gone = await stripe.customers.create();
	assert.equal((await stripe.customers.del(gone.id)).deleted, true);
	let count = 0;
	for await (const one of stripe.customers.list({ limit: 1 })) count += one.object === 'customer' ? 1 : 0;
	assert.ok(count >= 1, 'the library pages');
	const coupon = await stripe.coupons.create({ percent_off: 25, duration: 'forever' });
	assert.equal((await stripe.coupons.update(coupon.id, { name: 'Quarter' })).name, 'Quarter');
	assert.equal((await stripe.coupons.retrieve(coupon.id)).percent_off, 25);
	const code = await stripe.promotionCodes.create({ promotion: { type: 'coupon', coupon: coupon.id }, code: 'QUARTER' });
	await stripe.promotionCodes.update(code.id, { metadata: { a: 'b' } });
	const full = await stripe.promotionCodes.retrieve(code.id, { expand: ['promotion.coupon'] });
	assert.equal(full.promotion.coupon.name, 'Quarter');
	assert.equal((await stripe.promotionCodes.list({ code: 'QUARTER' })).data[0].id, code.id);
	const once = await stripe.coupons.create({ amount_off: 1, currency: 'usd' });
	assert.equal((await stripe.coupons.list()).data.length, 2);
	assert.equal((await stripe.coupons.del(once.id)).deleted, true);
	return [customer.id, code.id];
}

async function subscriptions(customer, code) {
	const sub = await stripe.subscriptions.create({
		customer, items: [{ price: 'price_pro' }], discounts: [{ promotion_code: code }],
		expand: ['latest_invoice', 'discounts'],
	});
	assert.equal(sub.latest_invoice.amount_paid, 1500);
	assert.equal(sub.discounts[0].promotion_code, code);
	const item = sub.items.data[0];
	assert.equal((await stripe.subscriptionItems.retrieve(item.id)).price.id, 'price_pro');
	assert.equal((await stripe.subscriptionItems.list({ subscription: sub.id })).data.length, 1);
	assert.equal((await stripe.subscriptions.deleteDiscount(sub.id)).deleted, true);
	const changed = await stripe.subscriptions.update(sub.id, {
		items: [{ id: item.id, price: 'price_max' }], proration_behavior: 'always_invoice',
	});
	assert.equal(changed.items.data[0].price.id, 'price_max');
	const invoice = await stripe.invoices.retrieve(changed.latest_invoice);
	assert.equal((await stripe.invoices.listLineItems(invoice.id)).data.length, 2);
	const credit = (await stripe.invoiceItems.list({ customer })).data.at(-1);
	assert.equal((await stripe.invoiceItems.retrieve(credit.id)).invoice, invoice.id);
	await stripe.subscriptions.pause(sub.id, { type: 'subscription' });
	assert.equal((await stripe.subscriptions.retrieve(sub.id)).status, 'paused');
	assert.equal((await stripe.subscriptions.resume(sub.id)).status, 'active');
	const ended = await stripe.subscriptions.create({ customer, items: [{ price: 'price_pro' }], trial_period_days: 3 });
	assert.equal((await stripe.subscriptions.cancel(ended.id)).status, 'canceled');
	assert.ok((await stripe.subscriptions.list({ customer, status: 'all' })).data.length >= 2);
	return sub.id;
}

async function schedules(customer) {
	const made = await stripe.subscriptionSchedules.create({
		customer, start_date: 'now', phases: [{ items: [{ price: 'price_pro' }] }, { items: [{ price: 'price_max' }] }],
	});
	assert.equal((await stripe.subscriptionSchedules.update(made.id, { end_behavior: 'cancel' })).end_behavior, 'cancel');
	assert.equal((await stripe.subscriptionSchedules.retrieve(made.id)).phases.length, 2);
	assert.equal((await stripe.subscriptionSchedules.release(made.id)).status, 'released');
	const other = await stripe.subscriptionSchedules.create({
		customer, start_date: (await now()) + 86400, phases: [{ items: [{ price: 'price_pro' }] }],
	});
	assert.equal((await stripe.subscriptionSchedules.cancel(other.id)).status, 'canceled');
	assert.equal((await stripe.subscriptionSchedules.list({ customer })).data.length, 2);
}

async function money(customer) {
	const charge = (await stripe.charges.list({ customer })).data[0];
	assert.equal((await stripe.charges.retrieve(charge.id)).status, 'succeeded');
	const payments = await stripe.invoicePayments.list({
		payment: { type: 'payment_intent', payment_intent: charge.payment_intent },
	});
	assert.equal(payments.data[0].payment.payment_intent, charge.payment_intent);
	const refund = await stripe.refunds.create({ charge: charge.id, amount: 100 });
	assert.equal((await stripe.refunds.retrieve(refund.id, { expand: ['charge'] })).charge.amount_refunded, 100);
	assert.equal((await stripe.refunds.list({ charge: charge.id })).data.length, 1);
	const { id } = await control('POST', '/disputes', { charge: charge.id });
	assert.equal((await stripe.disputes.retrieve(id)).status, 'needs_response');
	assert.equal((await stripe.disputes.list({ charge: charge.id })).data[0].id, id);
	await control('POST', `/customers/${customer}/payments`, { outcome: 'fails' });
	const unpaid = [];
	for (let i = 0; i < 3; i++)
		unpaid.push((await stripe.subscriptions.create({ customer, items: [{ price: 'price_pro' }] })).latest_invoice);
	await fails('StripeCardError', { code: 'card_declined', statusCode: 402 }, () => stripe.invoices.pay(unpaid[0]));
	await control('POST', `/customers/${customer}/payments`, { outcome: null });
	assert.equal((await stripe.invoices.pay(unpaid[0])).status, 'paid');
	assert.equal((await stripe.invoices.voidInvoice(unpaid[1])).status, 'void');
	assert.equal((await stripe.invoices.markUncollectible(unpaid[2])).status, 'uncollectible');
}

async function drafts(customer, sub) {
	const item = (await stripe.subscriptions.retrieve(sub)).items.data[0];
	await control('POST', '/clock', { to: item.current_period_end });
	const draft = (await stripe.invoices.list({ customer, subscription: sub, status: 'draft' })).data[0];
	assert.equal((await stripe.invoices.finalizeInvoice(draft.id)).status, 'paid');
}

async function selling(customer) {
	const session = await stripe.checkout.sessions.create({
		mode: 'subscription', success_url: done, customer, line_items: [{ price: 'price_pro', quantity: 1 }],
		subscription_data: { trial_period_days: 7 }, allow_promotion_codes: true,
	});
	assert.equal(session.ui_mode, 'hosted_page');
	assert.equal((await stripe.checkout.sessions.listLineItems(session.id)).data[0].price.id, 'price_pro');
	await control('POST', `/checkout/${session.id}/pay`);
	const paid = await stripe.checkout.sessions.retrieve(session.id, { expand: ['subscription', 'line_items'] });
	assert.deepEqual([paid.payment_status, paid.subscription.status], ['no_payment_required', 'trialing']);
	const late = await stripe.checkout.sessions.create({
		mode: 'subscription', success_url: done, line_items: [{ price: 'price_pro', quantity: 1 }],
	});
	assert.equal((await stripe.checkout.sessions.expire(late.id)).status, 'expired');
	assert.equal((await stripe.checkout.sessions.list({ customer })).data.length, 1);
	await fails('StripeInvalidRequestError', { code: 'parameter_unknown', param: 'payment_method_types' }, () =>
		stripe.checkout.sessions.create({ mode: 'subscription', payment_method_types: ['card'] }));
	await portal(customer, paid.subscription);
}

async function portal(customer, sub) {
	const { data: [standard] } = await stripe.billingPortal.configurations.list({ is_default: true });
	assert.equal((await stripe.billingPortal.configurations.retrieve(standard.id)).is_default, true);
	const flow = {
		type: 'subscription_update_confirm',
		subscription_update_confirm: { subscription: sub.id, items: [{ id: sub.items.data[0].id, price: 'price_max' }] },
	};
	await fails('StripeInvalidRequestError', { statusCode: 400 }, () =>
		stripe.billingPortal.sessions.create({ customer, flow_data: flow }));
	const price = await stripe.prices.retrieve('price_max');
	const made = await stripe.billingPortal.configurations.create({
		features: {
			payment_method_update: { enabled: true },
			subscription_update: {
				enabled: true, default_allowed_updates: ['price'], proration_behavior: 'always_invoice',
				products: [{ product: price.product, prices: [price.id] }],
			},
		},
	});
	await stripe.billingPortal.configurations.update(made.id, { default_return_url: done });
	const session = await stripe.billingPortal.sessions.create({ customer, configuration: made.id, flow_data: flow });
	assert.equal(session.flow.type, 'subscription_update_confirm');
	await control('POST', `/portal/${session.id}/confirm`);
	assert.equal((await stripe.subscriptions.retrieve(sub.id)).items.data[0].price.id, 'price_max');
}

async function usage(customer) {
	const meter = await stripe.billing.meters.create({
		display_name: 'Requests', event_name: 'requests', default_aggregation: { formula: 'sum' },
	});
	const event = { event_name: 'requests', identifier: 'one', payload: { stripe_customer_id: customer, value: '3' } };
	assert.equal((await stripe.billing.meterEvents.create(event)).identifier, 'one');
	await fails('StripeInvalidRequestError', { statusCode: 400 }, () => stripe.billing.meterEvents.create(event));
	const minute = Math.floor((await now()) / 60) * 60;
	const sums = await stripe.billing.meters.listEventSummaries(meter.id, {
		customer, start_time: minute - 60, end_time: minute + 60,
	});
	assert.equal(sums.data[0].aggregated_value, 3);
	assert.equal((await stripe.billing.meters.deactivate(meter.id)).status, 'inactive');
	assert.equal((await stripe.billing.meters.reactivate(meter.id)).status, 'active');
	assert.equal((await stripe.billing.meters.retrieve(meter.id)).event_name, 'requests');
	assert.ok((await stripe.billing.meters.list()).data.length >= 1);
	assert.equal((await stripe.entitlements.activeEntitlements.list({ customer })).data.length, 0);
}

async function clocks() {
	const start = 1900000000;
	const clock = await stripe.testHelpers.testClocks.create({ frozen_time: start });
	const customer = await stripe.customers.create({ test_clock: clock.id });
	const sub = await stripe.subscriptions.create({ customer: customer.id, items: [{ price: 'price_pro' }] });
	assert.equal(sub.created, start);
	await stripe.testHelpers.testClocks.advance(clock.id, { frozen_time: start + 40 * 86400 });
	assert.equal((await stripe.testHelpers.testClocks.retrieve(clock.id)).status, 'ready');
	const { data: [renewed] } = await stripe.subscriptions.list({ test_clock: clock.id });
	assert.ok(renewed.items.data[0].current_period_start > start);
	assert.equal((await stripe.testHelpers.testClocks.list()).data.length, 1);
	assert.equal((await stripe.testHelpers.testClocks.del(clock.id)).deleted, true);
}

async function endpoints() {
	const made = await stripe.webhookEndpoints.create({ url: hook, enabled_events: ['customer.created'] });
	assert.deepEqual((await stripe.webhookEndpoints.update(made.id, { enabled_events: ['*'] })).enabled_events, ['*']);
	assert.equal((await stripe.webhookEndpoints.retrieve(made.id)).url, hook);
	assert.ok((await stripe.webhookEndpoints.list()).data.length >= 1);
	assert.equal((await stripe.webhookEndpoints.del(made.id)).deleted, true);
	const thin = await stripe.v2.core.eventDestinations.create({
		name: 'Thin', type: 'webhook_endpoint', event_payload: 'thin', enabled_events: ['v1.customer.created'],
		webhook_endpoint: { url: 'http://127.0.0.1:9/' },
	});
	await stripe.v2.core.eventDestinations.update(thin.id, { name: 'Thinner' });
	assert.equal((await stripe.v2.core.eventDestinations.disable(thin.id)).status, 'disabled');
	assert.equal((await stripe.v2.core.eventDestinations.enable(thin.id)).status, 'enabled');
	let count = 0;
	for await (const one of stripe.v2.core.eventDestinations.list()) count += one.event_payload === 'thin' ? 1 : 0;
	assert.equal(count, 1);
	return thin.id;
}

async function events() {
	await control('POST', '/endpoints', { url: hook, secrets: [webhookSecret], payload: 'both', types: ['customer.created'] });
	const customer = await stripe.customers.create({ email: 'hook@example.com' });
	await control('POST', '/settle');
	const read = received.map(([body, signature]) => JSON.parse(body).object === 'event'
		? stripe.webhooks.constructEvent(body, signature, webhookSecret)
		: stripe.parseEventNotification(body, signature, webhookSecret));
	const snapshot = read.find((event) => event.object === 'event');
	assert.deepEqual([snapshot.type, snapshot.data.object.id], ['customer.created', customer.id]);
	const notice = read.find((event) => event.object === 'v2.core.event');
	assert.equal((await notice.fetchRelatedObject()).id, customer.id);
	assert.equal((await notice.fetchEvent()).id, notice.id);
	assert.throws(() => stripe.webhooks.constructEvent(received[0][0] + ' ', received[0][1], webhookSecret),
		Stripe.errors.StripeSignatureVerificationError);
	assert.equal((await stripe.events.retrieve(snapshot.id)).id, snapshot.id);
	const { data } = await stripe.events.list({ types: ['customer.created'], delivery_success: true });
	assert.equal(data[0].id, snapshot.id);
	assert.equal((await stripe.v2.core.events.list({ object_id: customer.id })).data[0].type, 'v1.customer.created');
}

async function errors(customer) {
	await fails('StripeInvalidRequestError', { statusCode: 404, code: 'resource_missing' }, () =>
		stripe.customers.retrieve('cus_nobody'));
	await fails('StripeInvalidRequestError', { statusCode: 400, param: 'customer' }, () =>
		stripe.subscriptions.create({ items: [{ price: 'price_pro' }] }));
	await fails('StripeAuthenticationError', { statusCode: 401 }, () => new Stripe('sk_test_no', options).customers.list());
	const same = { idempotencyKey: 'once' };
	await stripe.customers.create({ email: 'a@example.com' }, same);
	await fails('StripeIdempotencyError', { statusCode: 400 }, () => stripe.customers.create({ email: 'b@example.com' }, same));
	const kinds = { 403: 'StripePermissionError', 429: 'StripeRateLimitError', 500: 'StripeAPIError' };
	for (const [status, kind] of Object.entries(kinds)) {
		await control('POST', '/faults', { count: 1, path: '/v1/customers', status: Number(status) });
		await fails(kind, { statusCode: Number(status) }, () => stripe.customers.list());
	}
	// The library itself tries again once if a connection that it had kept is closed.
	await control('POST', '/faults', { count: null, path: '/v1/customers', reset: true });
	await fails('StripeConnectionError', {}, () => stripe.customers.list());
	await control('DELETE', '/faults');
	const patient = new Stripe(key, { ...options, maxNetworkRetries: 2 });
	await control('POST', '/faults', { count: 1, path: '/v1/customers', reset: true });
	assert.ok((await patient.customers.retrieve(customer)).id, 'the library retries');
}

await catalog();
const [customer, code] = await customersAndDiscounts();
const sub = await subscriptions(customer, code);
await schedules(customer);
await money(customer);
await drafts(customer, sub);
await selling(customer);
await usage(customer);
await clocks();
await endpoints();
await events();
await errors(customer);
server.close();
